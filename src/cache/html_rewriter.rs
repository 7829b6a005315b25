//! The platform's `HTMLRewriter` reads the page: a streaming HTML parser, not a regular expression.

use std::cell::RefCell;
use std::rc::Rc;

use kv_edge_core::cache::{CacheError, PAGE_BYTES_MAX, Page, PageText, TextOf};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::web_sys::{ReadableStreamDefaultReader, Response};

use crate::error::message_of;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = HTMLRewriter)]
    type HtmlRewriter;
    #[wasm_bindgen(constructor, js_class = "HTMLRewriter")]
    fn new() -> HtmlRewriter;
    #[wasm_bindgen(method, catch)]
    fn on(this: &HtmlRewriter, selector: &str, handlers: &Handlers) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    fn transform(this: &HtmlRewriter, response: &Response) -> Result<Response, JsValue>;

    /// The functions that are called for what a selector matches.
    #[wasm_bindgen(extends = js_sys::Object)]
    type Handlers;
    #[wasm_bindgen(method, setter)]
    fn set_element(this: &Handlers, handler: &JsValue);
    #[wasm_bindgen(method, setter)]
    fn set_text(this: &Handlers, handler: &JsValue);

    type Element;
    #[wasm_bindgen(method, catch, js_name = onEndTag)]
    fn on_end_tag(this: &Element, handler: &JsValue) -> Result<(), JsValue>;

    type TextChunk;
    #[wasm_bindgen(method, getter)]
    fn text(this: &TextChunk) -> String;
    #[wasm_bindgen(method, getter, js_name = lastInTextNode)]
    fn last_in_text_node(this: &TextChunk) -> bool;

    /// What a reader's `read` gives.
    type Chunk;
    #[wasm_bindgen(method, getter)]
    fn done(this: &Chunk) -> bool;
    #[wasm_bindgen(method, getter)]
    fn value(this: &Chunk) -> js_sys::Uint8Array;
}

type Shared = Rc<RefCell<PageText>>;

/// Text that nobody reads on the page. Handlers are called in the order they are added, so these stand before the body's text.
const UNREAD: &str = "body script, body style, body noscript, body template";

/// Reads title and text of a page, up to [`PAGE_BYTES_MAX`].
pub(super) async fn read_page(response: &Response) -> Result<Page<'static>, CacheError> {
    let text = Shared::default();
    read(response, &text).await?;
    let page = text.borrow().finish(&String::from(js_sys::Date::new_0().to_iso_string()));
    Ok(page)
}

async fn read(response: &Response, page: &Shared) -> Result<(), CacheError> {
    let failed = |thrown: JsValue| CacheError::Upstream(message_of(&thrown));
    let unread_end = handler(page, |page, _: JsValue| page.unread_ends());
    let unread = {
        let (page, end) = (Rc::clone(page), unread_end.as_ref().clone());
        Closure::<dyn FnMut(Element)>::new(move |element: Element| {
            // An element without an end tag, such as `<script/>` in SVG, has no text to leave out.
            if element.on_end_tag(&end).is_ok() {
                page.borrow_mut().unread_begins();
            }
        })
    };
    let body = handler(page, |page, _: Element| page.body_begins());
    let body_text = text_handler(page, TextOf::Body);
    let title = handler(page, |page, _: Element| page.title_begins());
    let title_text = text_handler(page, TextOf::Title);

    let rewriter = HtmlRewriter::new();
    rewriter.on("title", &handlers(title.as_ref(), Some(title_text.as_ref()))).map_err(failed)?;
    rewriter.on(UNREAD, &handlers(unread.as_ref(), None)).map_err(failed)?;
    rewriter.on("body", &handlers(body.as_ref(), Some(body_text.as_ref()))).map_err(failed)?;
    let Some(stream) = rewriter.transform(response).map_err(failed)?.body() else { return Ok(()) };

    let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
    let mut bytes: u64 = 0;
    loop {
        let chunk: Chunk = JsFuture::from(reader.read()).await.map_err(failed)?.unchecked_into();
        if chunk.done() {
            return Ok(());
        }
        bytes = bytes.saturating_add(chunk.value().length().into());
        if bytes > PAGE_BYTES_MAX {
            return Err(CacheError::TooLong);
        }
    }
}

fn handlers(element: &JsValue, text: Option<&JsValue>) -> Handlers {
    let handlers: Handlers = js_sys::Object::new().unchecked_into();
    handlers.set_element(element);
    if let Some(text) = text {
        handlers.set_text(text);
    }
    handlers
}

fn text_handler(page: &Shared, of: TextOf) -> Closure<dyn FnMut(TextChunk)> {
    handler(page, move |page, chunk: TextChunk| page.text(of, &chunk.text(), chunk.last_in_text_node()))
}

fn handler<E: JsCast + wasm_bindgen::convert::FromWasmAbi + 'static>(
    page: &Shared,
    mut handle: impl FnMut(&mut PageText, E) + 'static,
) -> Closure<dyn FnMut(E)> {
    let page = Rc::clone(page);
    Closure::new(move |event| handle(&mut page.borrow_mut(), event))
}
