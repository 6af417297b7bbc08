//! The map's files.

use super::rig::{Rig, Service};

#[tokio::test]
async fn the_page_may_load_nothing_from_the_network() {
    let rig = Rig::start(&[]).await;
    let page = rig.service.get("/").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{policy}");
    assert!(!page.text.contains("http"), "{}", page.text);
    for attribute in [" style=", " onclick=", "<style", "javascript:"] {
        assert!(!page.text.contains(attribute), "{attribute} would violate the policy");
    }
}

/// Every file that the page or a script names is there, with the type that the browser needs.
#[tokio::test]
async fn every_file_of_the_page_is_served() {
    let rig = Rig::start(&[]).await;
    let mut left = vec!["/".to_owned()];
    let mut seen = Vec::new();
    while let Some(path) = left.pop() {
        let file = rig.service.get(&path).await;
        assert_eq!(file.status, 200, "{path}");
        let kind = if path.ends_with(".js") { "text/javascript" } else { "" };
        assert!(file.header("content-type").starts_with(kind), "{path}");
        assert_eq!(file.header("x-content-type-options"), "nosniff");
        let quoted = file.text.split('"').skip(1).step_by(2);
        let named = quoted.filter_map(|text| {
            let own = text
                .strip_prefix("./")
                .filter(|name| name.ends_with(".js"))
                .map(|name| format!("/map/{name}"));
            own.or_else(|| text.starts_with("/map/").then(|| text.to_owned()))
        });
        let named: Vec<_> = named.filter(|name| !seen.contains(name) && !left.contains(name)).collect();
        left.extend(named);
        seen.push(path);
    }
    assert!(seen.len() >= 12, "{seen:?}");
}

#[tokio::test]
async fn files_are_compressed_once_and_sent_only_if_they_have_changed() {
    let rig = Rig::start(&[]).await;
    for path in ["/", "/map/main.js", "/map/settings.json", "/openapi.json"] {
        let plain = rig.service.get(path).await;
        assert_eq!(plain.header("content-encoding"), "", "{path}");
        let tag = plain.header("etag").to_owned();
        assert!(tag.starts_with("W/\""), "{path}: {tag}");
        let gzip = Service::send(rig.service.request(path).header("accept-encoding", "br, gzip;q=0.5")).await;
        assert_eq!(gzip.header("etag"), tag, "{path}");
        assert!(plain.text.len() < 1000 || gzip.header("content-encoding") == "gzip", "{path}");
        for (known, status) in [(tag.as_str(), 304), ("\"other\"", 200), ("*", 304)] {
            let again = Service::send(rig.service.request(path).header("if-none-match", known)).await;
            assert_eq!((again.status, again.header("etag")), (status, tag.as_str()), "{path} {known}");
            assert_eq!(again.text.is_empty(), status == 304, "{path} {known}");
        }
    }
    let missing = rig.service.get("/map/no-such.js").await;
    assert_eq!(missing.problem(), (404, "not_found".to_owned(), None));
}

#[tokio::test]
async fn tiles_are_the_operators_choice() {
    let settings = [
        ("FLEET_QUERY__TILE_URL", "https://tiles.example/{z}/{x}/{y}.png"),
        ("FLEET_QUERY__TILE_ATTRIBUTION", "Tiles by an example"),
    ];
    let rig = Rig::start_with(&[], &settings).await;
    let page = rig.service.get("/").await;
    assert!(page.header("content-security-policy").ends_with("img-src 'self' https://tiles.example"));
    let told = rig.service.json("/map/settings.json").await;
    assert_eq!(told["tile_url"], "https://tiles.example/{z}/{x}/{y}.png");
    assert_eq!(told["tile_attribution"], "Tiles by an example");
    assert_eq!(told["needs_token"], false);
}
