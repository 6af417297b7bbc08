//! Every scheme, with requests that it must accept and requests that it must refuse.

use fleet_providers::{AuthScheme, PROVIDERS, Secrets, Verdict};
use http::{HeaderMap, HeaderName, HeaderValue};
use md5::{Digest, Md5};

use crate::support::{Fixture, SECOND_SECRET, SECRET, fixtures, secrets};

const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
const JSON: Option<&str> = Some("application/json");

fn scheme(text: &str) -> AuthScheme {
    text.parse().expect("a scheme")
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

fn head(scheme_text: &str, pairs: &[(&'static str, &str)], query: Option<&str>) -> bool {
    let secrets = secrets(&["old", "s3cret:word"]);
    match scheme(scheme_text).verify_head(&headers(pairs), query, &secrets) {
        Verdict::Genuine => true,
        Verdict::Refused => false,
        Verdict::NeedsBody => panic!("{scheme_text} is decided by the head"),
    }
}

fn signed(content_type: Option<&str>, body: &[u8], secrets: &Secrets) -> bool {
    let verdict = AuthScheme::SegwayMd5.verify_body(&HeaderMap::new(), content_type, body, secrets);
    verdict == Verdict::Genuine
}

#[test]
fn schemes_are_read_and_shown_without_the_name_in_them() {
    let named = HeaderName::from_static("x-token");
    for (text, read, shown) in [
        ("none", AuthScheme::None, "none"),
        ("bearer", AuthScheme::Bearer, "bearer"),
        ("basic", AuthScheme::Basic, "basic"),
        ("header:X-Token", AuthScheme::Header(named.clone()), "header:[redacted]"),
        ("query:api Key", AuthScheme::Query("api Key".to_owned()), "query:[redacted]"),
        ("hmac-sha256:x-token", AuthScheme::HmacSha256(named), "hmac-sha256:[redacted]"),
        ("segway-md5", AuthScheme::SegwayMd5, "segway-md5"),
    ] {
        assert!(scheme(text) == read, "{text}");
        assert_eq!((read.to_string(), format!("{read:?}")), (shown.to_owned(), shown.to_owned()));
    }
    for text in [
        "",
        "Bearer",
        "header",
        "header:",
        "header:a b",
        "query:",
        "query: ",
        "hmac-sha256:",
        "md5",
        "none:x",
    ] {
        assert!(text.parse::<AuthScheme>().is_err(), "{text}");
    }
}

#[test]
fn providers_have_their_defaults() {
    let defaults: Vec<_> = PROVIDERS.iter().map(|p| (p.slug, (p.default_auth)())).collect();
    let expected = [("niu", "header:token"), ("segway", "segway-md5"), ("invers", "bearer")];
    assert_eq!(defaults, expected.map(|(slug, text)| (slug, scheme(text))));
}

#[test]
fn bearer() {
    for value in ["Bearer old", "bearer s3cret:word", "BEARER  old "] {
        assert!(head("bearer", &[("authorization", value)], None), "{value}");
    }
    for value in ["Bearer ol", "Bearer oldd", "Bearer", "Bearer ", "Bearerold", "Basic old", "old", ""] {
        assert!(!head("bearer", &[("authorization", value)], None), "{value}");
    }
    assert!(!head("bearer", &[], None));
    assert!(!head("bearer", &[("authorization", "Bearer no"), ("authorization", "Bearer old")], None));
}

#[test]
fn basic() {
    assert!(head("basic", &[("authorization", "Basic czNjcmV0OndvcmQ=")], None));
    assert!(head("basic", &[("authorization", "basic b2xk")], None));
    for value in ["Basic czNjcmV0OndvcmQ", "Basic s3cret:word", "Basic AAAA", "Basic", "Bearer b2xk"] {
        assert!(!head("basic", &[("authorization", value)], None), "{value}");
    }
}

#[test]
fn header() {
    assert!(head("header:token", &[("token", "s3cret:word")], None));
    assert!(!head("header:token", &[("token", "s3cret:wor")], None));
    assert!(!head("header:token", &[("token", "")], None));
    assert!(!head("header:token", &[("other", "old")], None));
    assert!(!head("header:token", &[("token", "old"), ("token", "old")], None));
}

#[test]
fn query() {
    assert!(head("query:key", &[], Some("a=1&key=s3cret%3Aword")));
    assert!(head("query:key", &[], Some("k%65y=old")));
    for query in [Some("key=s3cret"), Some("Key=old"), Some("key"), Some("key=old&key=x"), Some(""), None] {
        assert!(!head("query:key", &[], query), "{query:?}");
    }
}

#[test]
fn none_takes_everybody_and_empty_secrets_nobody() {
    assert_eq!(AuthScheme::None.verify_head(&HeaderMap::new(), None, &secrets(&[])), Verdict::Genuine);
    assert_eq!(AuthScheme::None.verify_body(&HeaderMap::new(), None, b"", &secrets(&[])), Verdict::Genuine);
    // MD5 and HMAC-SHA256 with the empty secret: they are correct, and must be refused.
    let md5 = b"a=1&signature=e0435000a9dc77eed91124220ffbba1b";
    let mac = "fb011e6154a19b9a4c767373c305275a5a69e8b68b0b4c9200c383dced19a416";
    for secrets in [secrets(&[]), secrets(&[""])] {
        let empty = headers(&[("authorization", "Bearer "), ("token", ""), ("mac", mac)]);
        for text in ["bearer", "basic", "header:token", "query:key"] {
            let verdict = scheme(text).verify_head(&empty, Some("key="), &secrets);
            assert_eq!(verdict, Verdict::Refused, "{text}");
        }
        let body = b"The quick brown fox jumps over the lazy dog";
        assert_eq!(scheme("hmac-sha256:mac").verify_body(&empty, JSON, body, &secrets), Verdict::Refused);
        assert!(!signed(FORM, md5, &secrets));
    }
}

#[test]
fn hmac_sha256() {
    // RFC 4231 has no key that is text, so this example is from Wikipedia.
    let body = b"The quick brown fox jumps over the lazy dog";
    let mac = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
    let genuine = |value: &str, body: &[u8]| {
        let headers = headers(&[("x-signature", value)]);
        let secrets = secrets(&["old", "key"]);
        let scheme = scheme("hmac-sha256:x-signature");
        assert_eq!(scheme.verify_head(&headers, None, &secrets), Verdict::NeedsBody);
        scheme.verify_body(&headers, JSON, body, &secrets) == Verdict::Genuine
    };
    assert!(genuine(mac, body));
    assert!(genuine(&format!("sha256={mac}"), body));
    assert!(genuine(&mac.to_uppercase(), body));
    assert!(!genuine(mac, b"The quick brown fox jumps over the lazy cog"));
    assert!(!genuine(&mac[..62], body));
    assert!(!genuine(&format!("{mac}00"), body));
    assert!(!genuine(&format!("sha1={mac}"), body));
    assert!(!genuine(&mac.replace('f', "g"), body));
    let none =
        scheme("hmac-sha256:x-signature").verify_body(&HeaderMap::new(), None, body, &secrets(&["key"]));
    assert_eq!(none, Verdict::Refused);
}

#[test]
fn head_schemes_are_not_decided_by_the_body() {
    let headers = headers(&[("authorization", "Bearer old"), ("token", "old")]);
    for text in ["bearer", "basic", "header:token", "query:key"] {
        assert_eq!(scheme(text).verify_body(&headers, None, b"", &secrets(&["old"])), Verdict::Refused);
    }
}

#[test]
fn segway_vectors() {
    let secrets = secrets(&[SECRET]);
    for (file, signature) in [
        ("status_v2.form", "f8236db49b7dc3e34c7314e4096c7f81"),
        ("location.form", "138f948a8b169e715e1cfbcc9854d433"),
        ("alert_1_illegal_movement.form", "78d7efaaa46b54496b618751360b74e7"),
    ] {
        let body = Fixture::named("segway", file).body;
        let text = String::from_utf8(body.clone()).unwrap();
        assert!(text.ends_with(&format!("signature={signature}")), "{file}");
        assert!(signed(FORM, &body, &secrets), "{file}");
        // A change of any byte must be detected.
        let altered = text.replacen("SGWTEST0001", "SGWTEST0002", 1);
        assert!(!signed(FORM, altered.as_bytes(), &secrets), "{file}");
    }
}

#[test]
fn segway_fixtures_are_signed_as_named() {
    for fixture in fixtures().iter().filter(|fixture| fixture.provider.slug == "segway") {
        let content_type = Some(fixture.content_type);
        let first = signed(content_type, &fixture.body, &secrets(&[SECRET]));
        let second = signed(content_type, &fixture.body, &secrets(&[SECOND_SECRET]));
        let both = signed(content_type, &fixture.body, &secrets(&[SECOND_SECRET, SECRET]));
        let expected = match fixture.situation.as_str() {
            "bad_signature" => (false, false, false),
            "us_secret" => (false, true, true),
            _ => (true, false, true),
        };
        assert_eq!((first, second, both), expected, "{}", fixture.situation);
        // Without a media type, the body shows its format.
        assert_eq!(signed(None, &fixture.body, &secrets(&[SECOND_SECRET, SECRET])), expected.2);
    }
}

#[test]
fn segway_signs_decoded_values() {
    // printf 'a=x y&b=\303\244&client_secret=test-secret-0001' | md5sum
    let signature = "063c95234cfd65afcae57afdd266cfcc";
    let secrets = secrets(&[SECRET]);
    for body in ["b=%C3%A4&a=x+y", "b=ä&a=x%20y", "%62=ä&&a=x+y"] {
        assert!(signed(FORM, format!("{body}&signature={signature}").as_bytes(), &secrets), "{body}");
        let media_type = Some("application/X-WWW-form-urlencoded; charset=utf-8");
        assert!(signed(media_type, format!("{body}&signature={signature}").as_bytes(), &secrets));
    }
    let json = format!(r#" {{"b":"\u00e4","signature":"{signature}","a":"x y"}} "#);
    assert!(signed(JSON, json.as_bytes(), &secrets));
    // The body shows its format, even with the wrong media type and with bytes that editors and libraries add.
    assert!(signed(FORM, json.as_bytes(), &secrets));
    for body in [format!("b=ä&a=x+y&signature={signature}"), json] {
        for content_type in [JSON, FORM, None] {
            assert!(signed(content_type, format!("\u{feff}{body}\r\n").as_bytes(), &secrets), "{body}");
        }
    }
}

#[test]
fn segway_refuses_what_it_cannot_be_sure_of() {
    let secrets = secrets(&[SECRET]);
    let good = String::from_utf8(Fixture::named("segway", "status_v2.form").body).unwrap();
    let unsigned = good.split("&signature=").next().unwrap();
    let digits = good.split("&signature=").nth(1).unwrap();
    for body in [
        unsigned.to_owned(),
        format!("{unsigned}&signature="),
        format!("{unsigned}&signature={}", &digits[..31]),
        format!("{unsigned}&signature={digits}0"),
        format!("{unsigned}&signature=z{}", &digits[1..]),
        format!("{good}&locked=true"),
        format!("{good}&signature={digits}"),
        format!("{good}&x=%FF"),
        String::new(),
    ] {
        assert!(!signed(FORM, body.as_bytes(), &secrets), "{body}");
    }
    let good = String::from_utf8(Fixture::named("segway", "status.json").body).unwrap();
    for (from, to) in [
        ("\"locked\": false", "\"locked\": true"),
        ("\"locked\": false", "\"locked\": false, \"locked\": false"),
        ("\"locked\": false", "\"locked\": false, \"nested\": {}"),
        ("\"locked\": false", "\"locked\": false, \"nested\": []"),
        ("12.5", "12.50"),
    ] {
        assert!(good.contains(from));
        assert!(!signed(JSON, good.replacen(from, to, 1).as_bytes(), &secrets), "{to}");
    }
    assert!(!signed(JSON, format!("[{good}]").as_bytes(), &secrets));
}

#[test]
fn segway_takes_as_many_parameters_as_a_message_may_need() {
    let secrets = secrets(&[SECRET]);
    let names: Vec<_> = (0..128).map(|number| format!("p{number:03}")).collect();
    for (others, is_taken) in [(127, true), (128, false)] {
        let parameters: Vec<_> = names[..others].iter().map(|name| format!("{name}=1")).collect();
        let parameters = parameters.join("&");
        let digest = Md5::digest(format!("{parameters}&client_secret={SECRET}"));
        let signature: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let form = format!("{parameters}&signature={signature}");
        assert_eq!(signed(FORM, form.as_bytes(), &secrets), is_taken, "{others} and the signature");
        let members: Vec<_> = names[..others].iter().map(|name| format!("\"{name}\":1")).collect();
        let json = format!("{{{},\"signature\":\"{signature}\"}}", members.join(","));
        assert_eq!(signed(JSON, json.as_bytes(), &secrets), is_taken, "{others} and the signature");
    }
}

#[test]
fn secrets_redact_themselves() {
    assert!(!format!("{:?}", secrets(&["hunter2"])).contains("hunter2"));
}
