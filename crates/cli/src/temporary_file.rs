//! Temporary files without a name, of which nothing is left behind if the command dies. Their
//! errors name the folder: a full disk is no fault of what is copied there.

use std::env;
use std::fs::File;
use std::io::{self, Write};

/// Why there is no temporary file, or why it cannot be written, as a sentence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemporaryFileError {
    #[error(
        "cannot create a temporary file in {folder}: {0}; free some disk space, or set TMPDIR to a folder that can be written",
        folder = env::temp_dir().display()
    )]
    NotCreated(io::Error),
    #[error(
        "cannot write a temporary file in {folder}: {0}; free some disk space, or set TMPDIR to a folder that has more",
        folder = env::temp_dir().display()
    )]
    NotWritten(io::Error),
}

/// Creates a temporary file.
///
/// # Errors
/// An [`io::Error`] that holds a [`TemporaryFileError`].
pub(crate) fn create() -> io::Result<File> {
    tempfile::tempfile().map_err(|error| io::Error::other(TemporaryFileError::NotCreated(error)))
}

/// Writes to a temporary file. Each error holds a [`TemporaryFileError`], so that it can be told
/// from an error of what is read meanwhile.
pub(crate) struct TemporaryFileWriter<'f>(pub(crate) &'f mut File);

impl Write for TemporaryFileWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(|error| io::Error::new(error.kind(), TemporaryFileError::NotWritten(error)))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_what_cannot_be_read() {
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        let error = io::copy(&mut &b"abc"[..], &mut TemporaryFileWriter(&mut full)).unwrap_err();
        let sentence = error.downcast::<TemporaryFileError>().unwrap().to_string();
        let folder = env::temp_dir();
        let expected = format!("cannot write a temporary file in {}: No space left on device", folder.display());
        assert!(sentence.starts_with(&expected), "{sentence}");
    }
}
