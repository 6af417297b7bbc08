//! The map's files.

use super::rig::Rig;

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
