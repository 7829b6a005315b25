//! What the `assets` namespace holds: a release, which an isolate remembers, and files under their own keys. The port through which
//! every job reads files.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::thread::LocalKey;

use kv_store::limits::Key;
use kv_store::memory::{Held, Memory, Standing};
use kv_store::recent::Recent;
use kv_store::record::BrokenRecord;
use kv_store::retry::Time;
use kv_store::store::StoreError;
use static_assets::answer::{Content, Served};
use static_assets::blobs::{BLOB_BYTES_MAX, Blobs};
use static_assets::keys::POINTER;
use static_assets::manifest::{Body, Manifest};
use static_assets::pieces::{self, Piece};
use static_assets::release::{Pointer, blob_key, manifest_key};
use static_assets::{AssetError, FileError};
use wasm_bindgen::{JsCast, JsValue};

use crate::http::error::Failure;
use crate::http::incoming::Incoming;
use crate::kv::{Form, GOOD_FACTOR, NotRead, Remembered, Store, all_of_it, sliced};
use crate::platform::bindings::Bindings;
use crate::platform::clock::Clock;
use crate::platform::log::RequestLog;

const ROUTE: &str = "/{key}";

/// What visitors are served.
pub(crate) enum Site {
    /// No release was ever pushed: each file stands under its own key.
    PlainKeys,
    /// A release.
    Release(Release),
}

/// A release that is served.
pub(crate) struct Release {
    pointer: Pointer,
    manifest: Rc<Manifest>,
}

/// The most bytes of JSON of all manifests that are remembered beside that of the release that is served: an isolate has 128 MB.
const PREVIOUS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The most plain keys that an isolate remembers not to be there.
const ABSENT_MAX: usize = 4096;

thread_local! {
    static SITE: RefCell<Memory<Rc<Site>>> = const { RefCell::new(Memory::new()) };
    static MANIFESTS: RefCell<Vec<KnownManifest>> = const { RefCell::new(Vec::new()) };
    static BLOBS: RefCell<Blobs<js_sys::ArrayBuffer>> = const { RefCell::new(Blobs::new()) };
    /// When each plain key was found not to be there, in milliseconds since the Unix epoch.
    static ABSENT: RefCell<Recent<u64>> = const { RefCell::new(Recent::new()) };
}

/// A manifest of one of the releases that the pointer names.
#[derive(Clone)]
struct KnownManifest {
    id: String,
    /// `None` for one that is not there, is broken, or is one too many.
    manifest: Option<Rc<Manifest>>,
    /// The bytes of its JSON.
    bytes: usize,
}

/// The pointer or a manifest is not what it must be.
#[derive(Clone)]
pub(crate) enum BrokenSite {
    Record(Key<'static>, BrokenRecord),
    /// The pointer names no release whose manifest is there.
    NoManifest(String),
}

impl fmt::Display for BrokenSite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(key, broken) => write!(formatter, "{}: {broken}", key.as_str()),
            Self::NoManifest(id) => write!(formatter, "the release {id} has no manifest"),
        }
    }
}

type NotLoaded = NotRead<BrokenSite>;

/// What visitors are served now: out of memory for `ASSETS_REFRESH`, and the last that could be read where KV fails; how it stands to what
/// KV holds is told.
pub(crate) async fn served(incoming: &Incoming) -> Result<Held<Rc<Site>>, Failure> {
    let refresh_ms = incoming.vars().assets.refresh_ms;
    let site = Remembered {
        store: Bindings::files,
        memory: &SITE,
        refresh_ms,
        good_ms: refresh_ms.saturating_mul(GOOD_FACTOR),
        parse: load,
        identity: all_of_it,
        unreadable: None,
        route: ROUTE,
        is_private: false,
    };
    match site.get(incoming, &POINTER, Clock.now_ms()).await {
        Ok(Some(held)) => {
            if matches!(&*held.value, Site::Release(release) if release.is_behind()) {
                // Its manifest may be there the next time.
                SITE.with_borrow_mut(|memory| memory.unsettle(POINTER.as_str()));
                return Ok(Held { standing: Standing::LastGood, ..held });
            }
            Ok(held)
        }
        // `load` makes something of every pointer, also of none.
        Ok(None) => Ok(Held { value: Rc::new(Site::PlainKeys), standing: Standing::Current }),
        Err(NotRead::Store(error)) => Err(FileError::unavailable(&error).into()),
        Err(NotRead::Broken(broken)) => Err(FileError::unavailable(&broken).into()),
    }
}

/// Reads the release that a pointer names. Its manifest was written before the pointer, but another location may see the pointer first:
/// then the release before serves.
async fn load(store: &Store, log: &RequestLog, _: &str, pointer: Option<String>) -> Result<Option<Site>, NotLoaded> {
    let Some(json) = pointer else { return Ok(Some(Site::PlainKeys)) };
    let broken = |broken| NotRead::Broken(BrokenSite::Record(POINTER, broken));
    let pointer = Pointer::parse(&json).map_err(broken)?;
    MANIFESTS.with_borrow_mut(|known| {
        known.retain(|known| {
            known.manifest.is_some() && (known.id == pointer.current || pointer.previous.contains(&known.id))
        });
    });
    for id in std::iter::once(&pointer.current).chain(&pointer.previous) {
        if let Some(manifest) = manifest(store, id).await? {
            if *id != pointer.current {
                log.warning(ROUTE, "release_behind", &format!("{} has no manifest, {id} is served", pointer.current));
            }
            return Ok(Some(Site::Release(Release { pointer, manifest })));
        }
    }
    Err(NotRead::Broken(BrokenSite::NoManifest(pointer.current)))
}

/// The manifest of a release, read once an isolate, and once more where it is not there.
async fn manifest(store: &Store, id: &str) -> Result<Option<Rc<Manifest>>, NotLoaded> {
    if let Some(known) = known(id) {
        return Ok(known.manifest);
    }
    let Ok(key) = manifest_key(id) else { return Ok(None) };
    let json = present(store, &key, &Form::TEXT).await.map_err(NotRead::Store)?;
    let json = json.and_then(|json| json.as_string());
    // Another request may have parsed it meanwhile, which takes longer than reading it.
    if let Some(known) = known(id) {
        return Ok(known.manifest);
    }
    let manifest = match &json {
        None => None,
        Some(json) => {
            Some(Rc::new(Manifest::parse(json).map_err(|broken| NotRead::Broken(BrokenSite::Record(key, broken)))?))
        }
    };
    remember(id, manifest.clone(), json.map_or(0, |json| json.len()));
    Ok(manifest)
}

/// What is remembered of a manifest.
fn known(id: &str) -> Option<KnownManifest> {
    MANIFESTS.with_borrow(|known| known.iter().find(|known| known.id == id).cloned())
}

fn remember(id: &str, manifest: Option<Rc<Manifest>>, bytes: usize) {
    MANIFESTS.with_borrow_mut(|known| {
        known.retain(|known| known.id != id);
        known.push(KnownManifest { id: id.to_owned(), manifest, bytes });
    });
}

/// A value that should be there: read once more where it is not.
async fn present(store: &Store, key: &Key<'_>, form: &Form) -> Result<Option<JsValue>, StoreError> {
    match store.read_with_retry(key, form).await? {
        Some(value) => Ok(Some(value)),
        None => store.read_with_retry(key, form).await,
    }
}

impl Release {
    /// True where a release before the one that the pointer names must serve.
    fn is_behind(&self) -> bool {
        self.manifest.id != self.pointer.current
    }

    /// For core.
    pub(crate) fn served(&self) -> Served<'_> {
        Served { pointer: &self.pointer, manifest: &self.manifest }
    }

    /// The names of the releases before, the last one first.
    pub(crate) fn previous(&self) -> &[String] {
        &self.pointer.previous
    }

    /// One of these, where its manifest is there and can be read. Few long ones are: what does not fit is passed over.
    pub(crate) async fn before(&self, incoming: &Incoming, id: &str) -> Option<Self> {
        let read = manifest(&incoming.env().files(), id).await;
        let manifest = match read {
            Ok(manifest) => manifest,
            Err(NotRead::Store(error)) => {
                incoming.log().warning(ROUTE, "kv_read_failed", &format!("release {id}: {error}"));
                return None;
            }
            Err(NotRead::Broken(broken)) => {
                incoming.log().warning(ROUTE, "broken_record", &broken);
                remember(id, None, 0);
                return None;
            }
        };
        let others: usize = MANIFESTS.with_borrow(|known| {
            known.iter().filter(|known| known.id != self.manifest.id).map(|known| known.bytes).sum()
        });
        if others > PREVIOUS_BYTES_MAX {
            remember(id, None, 0);
        }
        Some(Self { pointer: self.pointer.clone(), manifest: manifest? })
    }

    /// The release before, where it is in memory.
    pub(crate) fn remembered_previous(&self) -> Option<Self> {
        let manifest = known(self.pointer.previous.first()?)?.manifest?;
        Some(Self { pointer: self.pointer.clone(), manifest })
    }
}

/// Says in the log that the release before answered.
pub(crate) fn warn_of_previous(incoming: &Incoming, failure: &Failure) {
    incoming.log().warning(ROUTE, "previous_release", &failure.cause());
}

/// What follows the header fields of an answer. KV is read at most once before it begins.
pub(crate) async fn content(incoming: &Incoming, content: &Content<'_>) -> Result<JsValue, Failure> {
    match content {
        Content::None => Ok(JsValue::NULL),
        Content::Whole(body) => whole(&incoming.env().files(), body).await,
        Content::Parts { body, parts, length } => {
            let store = incoming.env().files();
            let pieces = pieces::of_parts(body, parts).map_err(AssetError::Key)?;
            assembled(&store, body, &pieces, *length).await
        }
    }
}

/// The same where memory has it.
pub(crate) fn remembered_content(content: &Content<'_>) -> Option<JsValue> {
    match content {
        Content::None => Some(JsValue::NULL),
        Content::Whole(body) => Some(BLOBS.with_borrow_mut(|blobs| blobs.get(&body.hash))?.into()),
        Content::Parts { .. } => None,
    }
}

async fn whole(store: &Store, body: &Body) -> Result<JsValue, Failure> {
    if body.length == 0 {
        return Ok(js_sys::ArrayBuffer::new(0).into());
    }
    if body.length <= BLOB_BYTES_MAX {
        return small(store, body).await.map(Into::into);
    }
    let pieces = pieces::of_whole(body).map_err(AssetError::Key)?;
    match pieces.as_slice() {
        // Untouched: a stream that is counted costs half as much again.
        [Piece::Bytes { key, .. }] => stream(store, key).await,
        pieces => assembled(store, body, pieces, body.length).await,
    }
}

/// The bytes of a small body, out of memory or KV.
async fn small(store: &Store, body: &Body) -> Result<js_sys::ArrayBuffer, Failure> {
    if let Some(bytes) = BLOBS.with_borrow_mut(|blobs| blobs.get(&body.hash)) {
        return Ok(bytes);
    }
    let key = blob_key(&body.hash).map_err(AssetError::Key)?;
    let read = present(store, &key, &Form::LASTING_BYTES).await.map_err(|error| FileError::unavailable(&error))?;
    let bytes: js_sys::ArrayBuffer = read.ok_or_else(|| FileError::missing(&key))?.unchecked_into();
    if u64::from(bytes.byte_length()) != body.length {
        return Err(FileError::missing(&key).into());
    }
    BLOBS.with_borrow_mut(|blobs| blobs.insert(&body.hash, body.length, bytes.clone()));
    Ok(bytes)
}

async fn stream(store: &Store, key: &Key<'_>) -> Result<JsValue, Failure> {
    let read = present(store, key, &Form::LASTING_STREAM).await.map_err(|error| FileError::unavailable(&error))?;
    Ok(read.ok_or_else(|| FileError::missing(key))?)
}

/// Pieces of a body. The first value among them is read before the answer begins.
async fn assembled(store: &Store, body: &Body, pieces: &[Piece<'_>], total: u64) -> Result<JsValue, Failure> {
    let plan = serde_json::to_string(pieces).unwrap_or_default();
    #[allow(clippy::cast_precision_loss)] // Files are shorter than 2^53 bytes.
    let total = total as f64;
    if body.length <= BLOB_BYTES_MAX {
        let bytes = small(store, body).await?;
        return sliced(&bytes, &plan, total).map_err(|thrown| Failure::internal(&thrown));
    }
    let first = pieces.iter().find_map(|piece| match piece {
        Piece::Bytes { key, .. } => Some(key),
        Piece::Text(_) => None,
    });
    let first = match first {
        Some(key) => stream(store, key).await?,
        None => JsValue::UNDEFINED,
    };
    Ok(store.assembled(&plan, &first, total).into())
}

/// The file under a key of its own, as documented; `None` where there is none, which is remembered for as long as a release is.
pub(crate) async fn plain(incoming: &Incoming, key: &Key<'_>) -> Result<Option<JsValue>, Failure> {
    let now_ms = Clock.now_ms();
    let refresh_ms = incoming.vars().assets.refresh_ms;
    let is_absent = ABSENT.with_borrow(|absent| {
        // A clock that was put back makes nothing absent for ever.
        absent
            .get(key.as_str())
            .is_some_and(|since_ms| now_ms.checked_sub(*since_ms).is_some_and(|ago| ago < refresh_ms))
    });
    if is_absent {
        return Ok(None);
    }
    let store = incoming.env().files();
    let read = store.read_with_retry(key, &Form::STREAM).await.map_err(|error| FileError::unavailable(&error))?;
    if read.is_none() {
        ABSENT.with_borrow_mut(|absent| {
            absent.insert(key.as_str(), now_ms);
            absent.bound(ABSENT_MAX);
        });
    }
    Ok(read)
}

/// A page that another job shows: the file with this key, of the release or under its own key.
pub(crate) async fn page(incoming: &Incoming, key: &Key<'_>) -> Result<JsValue, Failure> {
    let site = served(incoming).await?;
    if let Site::Release(release) = &*site.value
        && let Some(file) = release.manifest.file(&format!("/{}", key.as_str()))
    {
        return whole(&incoming.env().files(), &file.body).await;
    }
    plain(incoming, key).await?.ok_or_else(|| AssetError::NotFound.into())
}

/// A JSON file that another job reads, parsed: of the release, whose bytes never change, or under its own key. `None` where there is none.
pub(crate) async fn record<T: 'static>(
    incoming: &Incoming,
    key: &Key<'_>,
    memory: &'static LocalKey<RefCell<Memory<Rc<T>>>>,
    parse: fn(&str) -> Result<T, BrokenRecord>,
    route: &'static str,
) -> Result<Option<Rc<T>>, NotRead<BrokenRecord>> {
    // Where the release cannot be known, the file may still stand under its own key.
    let in_release = match served(incoming).await {
        Ok(site) => match &*site.value {
            Site::Release(release) => {
                let file = release.manifest.file(&format!("/{}", key.as_str()));
                file.and_then(|file| blob_key(&file.body.hash).ok())
            }
            Site::PlainKeys => None,
        },
        Err(failure) => {
            incoming.log().warning(route, "release_unknown", &failure.cause());
            None
        }
    };
    let is_in_release = in_release.is_some();
    let refresh_ms = if is_in_release { u64::MAX } else { incoming.vars().assets.refresh_ms };
    let record = Remembered {
        store: Bindings::files,
        memory,
        refresh_ms,
        good_ms: refresh_ms.saturating_mul(2),
        parse: async move |_: &Store, _: &RequestLog, _: &str, json: Option<String>| match json {
            None if is_in_release => Err(NotRead::Store(StoreError::missing())),
            json => json.as_deref().map(parse).transpose().map_err(NotRead::Broken),
        },
        identity: all_of_it,
        unreadable: None,
        route,
        is_private: false,
    };
    let held = record.get(incoming, in_release.as_ref().unwrap_or(key), Clock.now_ms()).await?;
    Ok(held.map(|held| held.value))
}
