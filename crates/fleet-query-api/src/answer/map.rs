//! The map: a page of the binary itself. It needs no build chain, and nothing from the network unless the operator sets a URL of
//! tiles.

use axum::http::{HeaderValue, header};
use serde::Serialize;

use super::asset::Asset;

const PAGE: &str = include_str!("../map/index.html");
const STYLE: &str = include_str!("../map/map.css");
const ICON: &str = include_str!("../map/icon.svg");

/// The modules of the page's script.
const SCRIPTS: [(&str, &str); 9] = [
    ("main.js", include_str!("../map/main.js")),
    ("stream.js", include_str!("../map/stream.js")),
    ("fleet.js", include_str!("../map/fleet.js")),
    ("view.js", include_str!("../map/view.js")),
    ("draw.js", include_str!("../map/draw.js")),
    ("tiles.js", include_str!("../map/tiles.js")),
    ("gestures.js", include_str!("../map/gestures.js")),
    ("details.js", include_str!("../map/details.js")),
    ("colours.js", include_str!("../map/colours.js")),
];

/// What the page may load: only this service, and pictures from the origin of the tiles.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; img-src 'self'";

/// What the page is told.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MapSettings {
    pub(crate) needs_token: bool,
    pub(crate) tile_url: Option<String>,
    pub(crate) tile_attribution: Option<String>,
}

/// The page and its files, by path.
#[derive(Debug)]
pub(crate) struct Map(Vec<(String, Asset)>);

impl Map {
    /// `None` if the URL of the tiles has no origin that a header can name.
    pub(crate) fn new(settings: &MapSettings) -> Option<Self> {
        let policy = match &settings.tile_url {
            Some(url) => HeaderValue::from_str(&format!("{POLICY} {}", origin(url)?)).ok()?,
            None => HeaderValue::from_static(POLICY),
        };
        let page = Asset::new("text/html; charset=utf-8", PAGE).with(header::CONTENT_SECURITY_POLICY, policy);
        let settings = Asset::new("application/json", serde_json::to_string(settings).ok()?);
        let files = [
            ("/", page),
            ("/map/settings.json", settings),
            ("/map/map.css", Asset::new("text/css; charset=utf-8", STYLE)),
            ("/map/icon.svg", Asset::new("image/svg+xml", ICON)),
        ];
        let files = files.map(|(path, asset)| (path.to_owned(), asset)).into_iter();
        let scripts = SCRIPTS
            .into_iter()
            .map(|(name, text)| (format!("/map/{name}"), Asset::new("text/javascript; charset=utf-8", text)));
        Some(Self(files.chain(scripts).collect()))
    }

    /// Every file with its path.
    pub(crate) fn into_files(self) -> Vec<(String, Asset)> {
        self.0
    }
}

/// Scheme and host of a URL.
fn origin(url: &str) -> Option<&str> {
    let scheme = ["https://", "http://"].into_iter().find(|scheme| url.starts_with(scheme))?;
    let host = url.get(scheme.len()..)?.split(['/', '?', '#']).next()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    let is_host = !host.is_empty() && host.bytes().all(is_plain);
    is_host.then(|| url.split_at(scheme.len() + host.len()).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_of_the_tiles_cannot_change_the_policy() {
        assert_eq!(
            origin("https://tiles.example:8443/{z}/{x}/{y}.png?a"),
            Some("https://tiles.example:8443")
        );
        for wrong in [
            "tiles",
            "ftp://a/",
            "https://",
            "https:///x",
            "https://a b/",
            "https://a;script-src *",
            "https://{s}.a/",
        ] {
            assert_eq!(origin(wrong), None, "{wrong}");
        }
    }
}
