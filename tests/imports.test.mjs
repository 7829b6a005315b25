// The checks of `lint-text` that there are no import cycles, and that no job imports another.
import assert from "node:assert/strict";
import { test } from "node:test";
import { importCycles, importsBetweenJobs } from "../scripts/imports.mjs";

const cycles = (sources) => importCycles(new Map(Object.entries(sources)));

test("a cycle is reported once, with a line of each import", () => {
  assert.deepEqual(
    cycles({
      "crates/a/src/lib.rs": "pub mod x;\npub mod y;\npub mod z;",
      "crates/a/src/x.rs": "//! Says x.\n\nuse super::y::Y;",
      "crates/a/src/y.rs": "fn z() { crate::z::<u8>() }",
      "crates/a/src/z.rs": "use crate::{\n    w,\n    x::{self as xs, X},\n};",
    }),
    ["Import cycle: crates/a/src/x.rs:3 -> crates/a/src/y.rs:1 -> crates/a/src/z.rs:1 -> crates/a/src/x.rs"],
  );
  assert.deepEqual(cycles({ "a/x.mjs": 'import {\n  y,\n} from "../b/y.mjs";', "b/y.mjs": 'const x = await import("../a/x.mjs");' }), [
    "Import cycle: a/x.mjs:3 -> b/y.mjs:1 -> a/x.mjs",
  ]);
});

test("child modules, inline modules, tests, comments and string literals make no cycle", () => {
  assert.deepEqual(
    cycles({
      "src/lib.rs": "mod x;\nmod y;",
      "src/x.rs": "mod inner;\nuse crate::x::inner::Inner;\nmod inline { use super::Inner; use super::super::y::Y; }",
      "src/x/inner.rs": "use super::X;",
      "src/y.rs":
        '// crate::x\nconst X: &str = "crate::x::X";\n#[cfg(test)]\nmod tests {\n    use super::*;\n    use crate::x::X;\n}\n#[cfg(test)]\nuse crate::x::X;',
    }),
    [],
  );
  assert.deepEqual(cycles({ "x.js": 'import { y } from "./y.js";', "y.js": '/**\n * @param {import("./x.js").X} x\n */\n// import "./x.js"' }), []);
});

test("an import of one job by another is reported, one within a job or of what jobs share is not", () => {
  const sources = {
    "src/lib.rs": "mod jobs;\nmod kv;\nuse crate::jobs::a;",
    "src/jobs.rs": "pub mod a;\npub mod b;",
    "src/jobs/a.rs": "mod inner;\nuse super::b::B;",
    "src/jobs/a/inner.rs": "use super::A;\nuse crate::kv::Kv;\nfn f() { crate::jobs::b::f() }",
    "src/jobs/b.rs": "use crate::kv::Kv;",
    "src/kv.rs": "",
  };
  assert.deepEqual(importsBetweenJobs(new Map(Object.entries(sources))), [
    "src/jobs/a.rs:2: the job a imports src/jobs/b.rs, of another job.",
    "src/jobs/a/inner.rs:3: the job a imports src/jobs/b.rs, of another job.",
  ]);
});
