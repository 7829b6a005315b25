//! The file that says how far a command got before it was interrupted.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use kv_store::record::to_json;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The file with the state of a command.
#[derive(Debug)]
pub(super) struct StateFile(PathBuf);

/// The content of a state file: what the command does, and how far it got. A run with another
/// `task` does not resume it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedState<T, P> {
    pub(super) task: T,
    pub(super) position: P,
}

/// Why a run cannot be resumed, or its state cannot be saved or removed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error("{path} cannot be read: {error}; run the command without --resume to start again")]
    Unreadable { path: String, error: io::Error },
    #[error("{path} is not the state of this command; run it without --resume to start again")]
    Broken { path: String },
    #[error(
        "{path} is the state of another run: the namespace, the options or the content of the input differ; run the \
         command without --resume to start again"
    )]
    OtherTask { path: String },
    #[error("{path} cannot be written: {error}; check the permissions and the space on the disk")]
    NotSaved { path: String, error: io::Error },
}

impl StateFile {
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Returns the state file of an input or an output: its name and `.state`.
    pub(super) fn beside(path: &Path) -> Self {
        Self(with_suffix(path, ".state"))
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }

    /// Returns true if an interrupted run left its state.
    pub(super) fn exists(&self) -> bool {
        self.0.exists()
    }

    /// Returns where the interrupted run of this task continues, or `None` if there is no state.
    ///
    /// # Errors
    /// The file cannot be read, is no state, or is that of another task.
    pub(super) fn position<T, P>(&self, task: &T) -> Result<Option<P>, StateError>
    where
        T: DeserializeOwned + PartialEq,
        P: DeserializeOwned,
    {
        let text = match fs::read(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::Unreadable { path: self.name(), error }),
        };
        let saved: SavedState<T, P> =
            serde_json::from_slice(&text).map_err(|_| StateError::Broken { path: self.name() })?;
        if saved.task == *task { Ok(Some(saved.position)) } else { Err(StateError::OtherTask { path: self.name() }) }
    }

    /// Replaces the state. At any moment the file has either the old state or the new one.
    pub(super) fn save<T: Serialize, P: Serialize>(&self, state: &SavedState<T, P>) -> Result<(), StateError> {
        let new = with_suffix(&self.0, ".new");
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(to_json(state).as_bytes())?;
            file.sync_all()
        });
        written
            .and_then(|()| fs::rename(&new, &self.0))
            .map_err(|error| StateError::NotSaved { path: self.name(), error })
    }

    /// Deletes the file: the work is complete.
    pub(super) fn remove(&self) -> Result<(), StateError> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StateError::NotSaved { path: self.name(), error }),
            _ => Ok(()),
        }
    }
}

/// Returns the path with this text after its file name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    proptest! {
        #[test]
        fn what_was_saved_is_resumed_and_nothing_else(task in ".{0,9}", other in ".{0,9}", at: u64, then: u64) {
            let folder = folder();
            let file = StateFile::beside(&folder.path().join("a.ndjson"));
            prop_assert_eq!(file.position::<String, u64>(&task).unwrap(), None);
            for position in [at, then] {
                file.save(&SavedState { task: task.clone(), position }).unwrap();
                prop_assert_eq!(file.position::<_, u64>(&task).unwrap(), Some(position));
            }
            let resumed = file.position::<_, u64>(&other);
            prop_assert_eq!(resumed.is_ok(), task == other);
            file.remove().unwrap();
            file.remove().unwrap();
            prop_assert_eq!(file.position::<_, u64>(&task).unwrap(), None);
            prop_assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_broken_state_is_not_resumed() {
        let folder = folder();
        let path = folder.path().join("state");
        let file = StateFile::at(&path);
        for text in ["", "{", "[]", r#"{"task": "a"}"#, r#"{"task": "a", "position": -1}"#] {
            fs::write(&path, text).unwrap();
            let error = file.position::<String, u64>(&"a".to_owned()).unwrap_err();
            assert!(matches!(error, StateError::Broken { .. }), "{text}: {error}");
        }
    }
}
