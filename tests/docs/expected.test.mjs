// Tests of the checker of examples: if it accepted everything, no example would be checked.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { matchesJson, matchesText } from "./expected.mjs";

describe("a text", () => {
  for (const [name, text, shown, isEqual] of [
    ["the same, spaces at the ends aside", "a\nb \n\n", "a\nb", true],
    ["another word", "a\nb\n", "a\nc", false],
    ["a line more", "a\nb\nc\n", "a\nb", false],
    ["a line less", "a\n", "a\nb", false],
    ["… within a line", "ttl=17; hit\n", "ttl=…; hit", true],
    ["… does not stand for the end of a line that is shown", "ttl=17; miss\n", "ttl=…; hit", false],
    ["… for lines", "a\nb\nc\n", "a\n…\nc", true],
    ["… for no line", "a\nc\n", "a\n…\nc", true],
    ["… does not stand for a line that is shown", "a\nb\n", "a\n…\nc", false],
    ["metacharacters of regular expressions are literal", "a+b (c)\n", "a+b (c)", true],
  ]) {
    test(`${name}: ${isEqual ? "matches" : "does not match"}`, () => assert.equal(matchesText(text, shown), isEqual));
  }
});

describe("a JSON value", () => {
  for (const [name, text, shown, isEqual] of [
    ["the same, laid out otherwise", '{"a":1,"b":[true,null]}', '{ "b": [true, null],\n "a": 1 }', true],
    ["no JSON", "oops", "{}", false],
    ["another value", '{"a":1}', '{"a":2}', false],
    ["another type", '{"a":"1"}', '{"a":1}', false],
    ["a member more", '{"a":1,"b":2}', '{"a":1}', false],
    ["a member less", '{"a":1}', '{"a":1,"b":2}', false],
    ["… for a value", '{"a":{"b":1}}', '{"a":"…"}', true],
    ["… in a text", '{"a":"version 7"}', '{"a":"version …"}', true],
    ["… for more items", "[1,2,3]", '[1,"…"]', true],
    ["… for no item", "[]", '["…"]', true],
    ["an item more", "[1,2]", "[1]", false],
    ["… for more members", '{"a":1,"b":2}', '{"a":1,"…":"…"}', true],
    ["… does not stand for a member that is shown", '{"b":2}', '{"a":1,"…":"…"}', false],
  ]) {
    test(`${name}: ${isEqual ? "matches" : "does not match"}`, () => assert.equal(matchesJson(text, shown), isEqual));
  }
});
