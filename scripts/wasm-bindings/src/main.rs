//! A build step: turns rustc's WebAssembly into the module that workerd loads, with its JavaScript
//! bindings.
//!
//! ```text
//! wasm-bindings WASM FOLDER    writes FOLDER/index_bg.wasm, index.js and the snippets it imports
//! ```
//!
//! `wasm-bindgen-cli` does the same. This program uses the library behind it, at the version in
//! Cargo.lock, so both halves of wasm-bindgen match. It compiles in a third of the time.

use std::env;

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [wasm, folder] = arguments.as_slice() else {
        bail!("usage: wasm-bindings WASM FOLDER");
    };
    Bindgen::new()
        .input_path(wasm)
        .out_name("index")
        .module(true)?
        // After a trap the next call gets a new instance; `src/platform/entry.mjs` relies on it.
        .reset_state_function(true)
        .force_enable_abort_handler(true)
        .generate(folder)
        .with_context(|| format!("making the bindings of {wasm}"))
}
