//! The files that a command line names, `-` for standard input, and how they are read as text.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// A file, or standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InputFile {
    /// `-`
    Stdin,
    File(PathBuf),
}

/// Why a file cannot be read as text. Each message but that of `Other` says what people can do.
#[derive(Debug)]
pub(crate) enum InputError {
    /// There is no such file. Has the folder that a relative path is relative to.
    Missing(Option<PathBuf>),
    Directory,
    Denied,
    Empty,
    ByteOrderMark,
    Utf16,
    /// The position of the first invalid byte, counted from 1.
    NotUtf8(usize),
    Other(io::Error),
}

impl From<PathBuf> for InputFile {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path) }
    }
}

impl fmt::Display for InputFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => formatter.write_str("stdin"),
            Self::File(path) => path.display().fmt(formatter),
        }
    }
}

impl InputFile {
    /// Reads the whole text.
    pub(crate) fn read(&self) -> Result<String, InputError> {
        let bytes = match self {
            Self::Stdin => {
                let mut bytes = Vec::new();
                io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes).map_err(InputError::Other)
            }
            Self::File(path) => std::fs::read(path).map_err(|error| unreadable(path, error)),
        }?;
        text(bytes)
    }
}

fn unreadable(path: &Path, error: io::Error) -> InputError {
    match error.kind() {
        ErrorKind::NotFound if path.is_relative() => InputError::Missing(std::env::current_dir().ok()),
        ErrorKind::NotFound => InputError::Missing(None),
        // Windows reports "access denied" for a directory.
        _ if path.is_dir() => InputError::Directory,
        ErrorKind::PermissionDenied => InputError::Denied,
        _ => InputError::Other(error),
    }
}

fn text(bytes: Vec<u8>) -> Result<String, InputError> {
    if bytes.trim_ascii().is_empty() {
        return Err(InputError::Empty);
    }
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        return Err(InputError::ByteOrderMark);
    }
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Err(InputError::Utf16);
    }
    String::from_utf8(bytes).map_err(|error| InputError::NotUtf8(error.utf8_error().valid_up_to() + 1))
}

impl fmt::Display for InputError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(Some(folder)) => {
                write!(formatter, "there is no such file; check the path, which is relative to {}", folder.display())
            }
            Self::Missing(None) => formatter.write_str("there is no such file; check the path"),
            Self::Directory => formatter.write_str("this is a directory; give the files in it"),
            Self::Denied => formatter.write_str("permission denied; change the permissions of the file (chmod +r)"),
            Self::Empty => formatter.write_str("it is empty; check the program that writes it"),
            Self::ByteOrderMark => formatter.write_str(
                "it starts with a byte order mark, which JSON does not allow; save it as UTF-8 without one (\"UTF-8\", not \"UTF-8 with BOM\")",
            ),
            Self::Utf16 => formatter.write_str("it is UTF-16, but JSON is UTF-8; save it as UTF-8"),
            Self::NotUtf8(byte) => write!(formatter, "it is not UTF-8 from byte {byte} on; save it as UTF-8"),
            Self::Other(error) => write!(formatter, "it cannot be read: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_text_is_reported_in_a_sentence() {
        for (bytes, expected) in [
            (&b""[..], "it is empty"),
            (b" \r\n", "it is empty"),
            (b"\xEF\xBB\xBF{}", "it starts with a byte order mark"),
            (b"\xFF\xFE{\0}\0", "it is UTF-16"),
            (b"\xFE\xFF\0{\0}", "it is UTF-16"),
            (b"{\"\xE4\": 1}", "it is not UTF-8 from byte 3 on"),
        ] {
            let sentence = text(bytes.to_vec()).unwrap_err().to_string();
            assert!(sentence.starts_with(expected), "{bytes:?}: {sentence}");
        }
        assert_eq!(text(b" {}\n".to_vec()).unwrap(), " {}\n");
    }

    #[test]
    fn a_hyphen_is_standard_input() {
        assert_eq!(InputFile::from(PathBuf::from("-")), InputFile::Stdin);
        assert_eq!(InputFile::from(PathBuf::from("./-")), InputFile::File(PathBuf::from("./-")));
    }
}
