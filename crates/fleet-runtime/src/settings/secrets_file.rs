//! Secrets from a file, which may change at any time.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fleet_providers::Secrets;

use super::secret::{is_plain, list};

/// Larger than any list of secrets. A larger file was given by mistake.
const MAX_BYTES: u64 = 64 * 1024;

/// Why a secrets file is unusable. It names the file and never shows its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretsFileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder, or a file that could block the reader.
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// Not a list of secrets.
    #[error("{} is larger than {MAX_BYTES} bytes: it is no file of secrets", .0.display())]
    TooLarge(PathBuf),
    /// Not text.
    #[error("{} is not UTF-8", .0.display())]
    NotText(PathBuf),
    /// Secrets with a wrong separator.
    #[error("there is a control character inside a secret in {}; separate secrets by commas or line ends", .0.display())]
    Control(PathBuf),
    /// No secret, so no request could be authenticated.
    #[error("there is no secret in {}; write at least one into it", .0.display())]
    Empty(PathBuf),
}

/// Reads the secrets in a file, which are separated by commas or line ends.
///
/// # Errors
///
/// Why the file cannot be used; an empty one cannot.
pub fn read_secrets(path: &Path) -> Result<Secrets, SecretsFileError> {
    let read = |source| SecretsFileError::Read { path: path.to_owned(), source };
    // Check before opening: opening a named pipe waits for a writer.
    if !std::fs::metadata(path).map_err(read)?.is_file() {
        return Err(SecretsFileError::NotAFile(path.to_owned()));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(read)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(SecretsFileError::TooLarge(path.to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|_secret| SecretsFileError::NotText(path.to_owned()))?;
    let secrets = list(&text, &[',', '\n', '\r']);
    if !is_plain(&secrets) {
        return Err(SecretsFileError::Control(path.to_owned()));
    }
    if secrets.0.is_empty() {
        return Err(SecretsFileError::Empty(path.to_owned()));
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn read(text: &[u8]) -> Result<Vec<String>, SecretsFileError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let secrets = read_secrets(file.path())?;
        Ok(secrets.0.iter().map(|secret| secret.expose_secret().to_owned()).collect())
    }

    #[test]
    fn secrets_are_separated_by_commas_or_line_ends_and_trimmed() {
        for text in
            ["one,two three", "one\ntwo three\n", " one \r\n\r\n two three ", ",one,\n,\ttwo three\n\n"]
        {
            assert_eq!(read(text.as_bytes()).unwrap(), ["one", "two three"], "{text:?}");
        }
    }

    #[test]
    fn what_is_no_list_of_secrets_is_refused_without_showing_it() {
        let large = vec![b'a'; 64 * 1024 + 1];
        for text in [&b""[..], b" , \n", b"hunter2\xff", b"hunt\ter2", b"hunter2\0", &large] {
            let error = read(text).unwrap_err().to_string();
            assert!(!error.contains("hunt") && !error.contains("aaa"), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("missing")] {
            let error = read_secrets(&path).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }
}
