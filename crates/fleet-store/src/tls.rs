//! The TLS parameters of a database URL, named as in libpq.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use fleet_tls::{Check, TrustAnchors, client_config};
use percent_encoding::percent_decode_str;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::StoreError;

/// The parameters of a URL that tokio-postgres does not know, or interprets differently.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TlsParameters {
    /// The URL without them.
    pub(crate) url: String,
    /// Whether there is TLS.
    pub(crate) mode: SslMode,
    /// `target_session_attrs`, which stays in the URL. The driver does not tell its absence from `any`.
    pub(crate) target_session_attrs: Option<String>,
    check: Check,
    roots: Roots,
}

/// `sslrootcert`.
#[derive(Debug, PartialEq, Eq)]
enum Roots {
    /// Not there.
    Default,
    /// `system`.
    System,
    File(PathBuf),
}

impl TlsParameters {
    /// Takes them from `url`. `ca_given`: there is a CA file for URLs without `sslrootcert`.
    ///
    /// Without `sslmode`, a configured CA means `verify-full`, and no CA means `prefer`, as for PostgreSQL's own
    /// clients. `require` behaves like `verify-full`, because encryption to an unverified server does not protect
    /// against an active attacker.
    ///
    /// # Errors
    ///
    /// [`StoreError::Url`]. It names the parameter, but no value, because a value may be a password.
    pub(crate) fn take(url: &str, ca_given: bool) -> Result<Self, StoreError> {
        let (base, query) = split_query(url)?;
        let (mut mode, mut roots, mut rest) = (None, Roots::Default, Vec::new());
        let mut target_session_attrs = None;
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name {
                "sslmode" => mode = Some(decode(value)?),
                "sslrootcert" => {
                    roots = match &*decode(value)? {
                        "system" => Roots::System,
                        "" => Roots::Default,
                        path => Roots::File(PathBuf::from(path)),
                    }
                }
                "target_session_attrs" => {
                    target_session_attrs = Some(decode(value)?.into_owned());
                    rest.push(parameter);
                }
                "sslnegotiation" => rest.push(parameter),
                _ if name.starts_with("ssl") => return Err(unsupported(name)),
                _ => rest.push(parameter),
            }
        }
        let named = roots != Roots::Default;
        let (mode, check) = match mode.as_deref() {
            None if named || ca_given => (SslMode::Require, Check::ChainAndName),
            None | Some("prefer") => (SslMode::Prefer, Check::Nothing),
            Some("disable") => (SslMode::Disable, Check::Nothing),
            // Any certificate of any public CA would be accepted.
            Some("verify-ca") if roots == Roots::System || !(named || ca_given) => {
                return Err(StoreError::Url(
                    "sslmode=verify-ca needs your own CA: set its file by sslrootcert or FLEET_TLS__CA_FILE, or use \
                     sslmode=verify-full"
                        .to_owned(),
                ));
            }
            Some("verify-ca") => (SslMode::Require, Check::Chain),
            Some("require" | "verify-full") => (SslMode::Require, Check::ChainAndName),
            Some(_) => return Err(StoreError::Url(MODES.to_owned())),
        };
        if named && check == Check::Nothing {
            return Err(StoreError::Url(
                "this sslmode does not verify certificates, but sslrootcert is set; remove it, or use \
                 sslmode=verify-full"
                    .to_owned(),
            ));
        }
        let separator = if rest.is_empty() { "" } else { "?" };
        let url = format!("{base}{separator}{}", rest.join("&"));
        Ok(Self { url, mode, target_session_attrs, check, roots })
    }

    /// The TLS connector. `ca_file` applies if the URL has no `sslrootcert`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Tls`] if the CAs cannot be read.
    pub(crate) fn connector(&self, ca_file: Option<&Path>) -> Result<MakeRustlsConnect, StoreError> {
        let anchors = match (&self.roots, self.check) {
            (_, Check::Nothing) | (Roots::System, _) => TrustAnchors::System,
            (Roots::File(path), _) => TrustAnchors::read(Some(path))?,
            (Roots::Default, _) => TrustAnchors::read(ca_file)?,
        };
        Ok(MakeRustlsConnect::new(client_config(&anchors, self.check)?))
    }
}

const MODES: &str = "sslmode must be disable, prefer, require, verify-ca or verify-full; require behaves \
                     like verify-full";

/// Splits off the query of a URL. Like tokio-postgres, it treats a `?` before the `@` as a part of the password.
///
/// Refuses a key/value connection string, which tokio-postgres accepts, because its TLS parameters would be ignored.
fn split_query(url: &str) -> Result<(&str, &str), StoreError> {
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return Err(StoreError::Url("it does not begin with postgres://".to_owned()));
    }
    let address = url.find('@').unwrap_or(0);
    Ok(match url[address..].find('?') {
        Some(mark) => (&url[..address + mark], &url[address + mark + 1..]),
        None => (url, ""),
    })
}

fn decode(value: &str) -> Result<Cow<'_, str>, StoreError> {
    let decoded = percent_decode_str(value).decode_utf8();
    decoded.map_err(|_| StoreError::Url("a parameter is not UTF-8".to_owned()))
}

fn unsupported(name: &str) -> StoreError {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
    StoreError::Url(format!(
        "{name} is not supported; supported TLS parameters are sslmode, sslrootcert and sslnegotiation"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(query: &str) -> TlsParameters {
        TlsParameters::take(&format!("postgres://u:p@db/fleet{query}"), false).unwrap()
    }

    #[test]
    fn modes_are_those_of_libpq_and_require_checks_everything() {
        use Check::{Chain, ChainAndName, Nothing};
        for (query, mode, check) in [
            ("", SslMode::Prefer, Nothing),
            ("?sslmode=prefer", SslMode::Prefer, Nothing),
            ("?sslmode=disable", SslMode::Disable, Nothing),
            ("?sslmode=require", SslMode::Require, ChainAndName),
            ("?sslmode=verify-ca&sslrootcert=/ca.pem", SslMode::Require, Chain),
            ("?sslmode=verify%2Dfull", SslMode::Require, ChainAndName),
            ("?sslrootcert=/ca.pem", SslMode::Require, ChainAndName),
            ("?sslrootcert=system", SslMode::Require, ChainAndName),
        ] {
            let taken = take(query);
            assert_eq!((taken.mode, taken.check), (mode, check), "{query}");
        }
        let ca_given = TlsParameters::take("postgres://u:p@db/fleet", true).unwrap();
        assert_eq!((ca_given.mode, ca_given.check), (SslMode::Require, ChainAndName));
        let ca_given = TlsParameters::take("postgres://u:p@db/fleet?sslmode=disable", true).unwrap();
        assert_eq!(ca_given.mode, SslMode::Disable);
    }

    #[test]
    fn the_rest_of_the_url_stays() {
        let taken =
            take("?connect_timeout=3&sslmode=verify-ca&application_name=a%20b&sslrootcert=%2Fmy%20ca.pem");
        assert_eq!(taken.url, "postgres://u:p@db/fleet?connect_timeout=3&application_name=a%20b");
        assert_eq!(taken.roots, Roots::File(PathBuf::from("/my ca.pem")));
        assert_eq!(take("?sslmode=require").url, "postgres://u:p@db/fleet");
        for url in ["postgres://u:p?sslmode=x@db/fleet", "postgres://db/x"] {
            assert_eq!(TlsParameters::take(url, false).unwrap().url, url);
        }
    }

    #[test]
    fn what_says_less_than_it_seems_is_refused() {
        // tokio-postgres accepts it, but its TLS parameters would be ignored.
        let words = TlsParameters::take("host=db user=u password=hunter2 sslmode=require", false);
        let error = words.unwrap_err().to_string();
        assert!(error.contains("postgres://") && !error.contains("hunter2"), "{error}");
        // Anyone can get a certificate of a public CA.
        for query in ["sslmode=verify-ca", "sslmode=verify-ca&sslrootcert=system"] {
            let error = TlsParameters::take(&format!("postgres://u@db/fleet?{query}"), false).unwrap_err();
            assert!(error.to_string().contains("sslrootcert"), "{error}");
        }
        let own = TlsParameters::take("postgres://u@db/fleet?sslmode=verify-ca", true).unwrap();
        assert_eq!(own.check, Check::Chain);
    }

    #[test]
    fn what_is_not_meant_is_refused_without_its_value() {
        for query in [
            "sslmode=allow",
            "sslmode=hunter2",
            "sslpassword=hunter2",
            "sslcert=hunter2",
            "sslmode=prefer&sslrootcert=/hunter2",
            "sslmode=disable&sslrootcert=system",
        ] {
            let error = TlsParameters::take(&format!("postgres://u:hunter2@db/fleet?{query}"), false);
            let error = error.unwrap_err().to_string();
            assert!(error.contains("ssl") && !error.contains("hunter2"), "{error}");
        }
    }
}
