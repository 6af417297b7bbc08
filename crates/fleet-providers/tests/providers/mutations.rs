//! Replaces, removes, repeats, swaps and wraps every value of every fixture. Only the edited value may be lost, and every
//! refusal must have a reason.

mod affected;
mod document;

use fleet_providers::{Limits, Message, ParseError};

use crate::support::{Fixture, Parsed, fixtures};
use affected::{Affected, Outcome, assert_unaffected, by_member};
use document::{Document, Edit};

/// Texts that no provider should send as a value, and the reason if one of them makes the event bad.
fn nasty_json() -> Vec<(String, Option<&'static str>)> {
    let taken = [
        "null",
        "\"\"",
        "\" \"",
        "[]",
        "{}",
        "true",
        "\"NaN\"",
        "\"-Infinity\"",
        "1e999",
        "-1e999",
        "-0",
        "-0.0",
        "1e-400",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775809",
        "0.1e1",
        "\"2024-02-30T25:61:61Z\"",
        "\"\\ud83d\\ude00\"",
        "\"\\u0000\"",
        "{\"\\u0000\":1}",
        "\"\\udc00\"",
        "{\"value\":{\"value\":1},\"timestamp\":[]}",
        "[[[[[[[[]]]]]]]]",
    ];
    let sunk = [("nul", "unparsable"), ("01", "unparsable"), ("\"\u{1}\"", "unparsable")];
    let digits = "9".repeat(5_000);
    let long = [format!("\"{}\"", "x".repeat(5_000)), digits.clone(), format!("0.{digits}")];
    let deep = ("[".repeat(100) + &"]".repeat(100), Some("too_deep"));
    let taken = taken.map(str::to_owned).into_iter().chain(long).map(|text| (text, None));
    taken.chain(sunk.map(|(text, reason)| (text.to_owned(), Some(reason)))).chain([deep]).collect()
}

fn nasty_form() -> Vec<(String, Option<&'static str>)> {
    let taken = [
        "",
        "+",
        "%20",
        "null",
        "true",
        "NaN",
        "inf",
        "1e999",
        "-0",
        "1e-400",
        "9223372036854775808",
        "%5B%5D",
        "%",
        "%2",
        "%zz",
        "%26iotCode%3D1",
        "=",
        "x=y",
        "%00",
    ];
    let taken = taken.map(str::to_owned).into_iter().chain(["x".repeat(5_000)]).map(|text| (text, None));
    let sunk = [("%FF", "invalid_utf8"), ("%ED%A0%80", "invalid_utf8")];
    taken.chain(sunk.map(|(text, reason)| (text.to_owned(), Some(reason)))).collect()
}

fn parse<'a>(fixture: &'a Fixture, body: &'a str) -> Parsed<'a> {
    let message = Message { body: body.as_bytes(), ..fixture.message() };
    fixture.provider.parse(&message, &Limits::default())
}

/// Compares the result of an edited body with that of the fixture itself.
fn check(original: &Parsed<'_>, edited: &Parsed<'_>, sunk: Option<&str>, event: usize, allowed: Affected) {
    let before = original.as_ref().expect("a fixture parses");
    let after = match (edited, sunk) {
        (Err(error), Some(reason)) => return assert_eq!(error.reason(), reason),
        (Ok(after), Some(reason)) => return check_sunk(before, after, reason, event, allowed),
        (Err(error), None) => return assert!(allowed.structure, "sank the whole message: {error}"),
        (Ok(after), None) => after,
    };
    for error in after.iter().filter_map(|event| event.as_ref().err()) {
        assert!(ParseError::REASONS.contains(&error.reason()), "{error}");
    }
    if allowed.structure {
        return;
    }
    assert_eq!(before.len(), after.len(), "events");
    for (index, pair) in before.iter().zip(after).enumerate() {
        assert_unaffected(pair, if index == event { allowed } else { Affected::NOTHING });
    }
}

/// In an array only the edited event is refused. An envelope around valid events does not affect them.
fn check_sunk(before: &[Outcome<'_>], after: &[Outcome<'_>], reason: &str, event: usize, allowed: Affected) {
    if allowed.structure {
        return;
    }
    assert_eq!(before.len(), after.len(), "events");
    for (index, pair) in before.iter().zip(after).enumerate() {
        match pair {
            (_, Err(error)) if index == event => assert_eq!(error.reason(), reason),
            (_, Ok(_)) if index == event => panic!("was not refused as {reason}"),
            pair => assert_unaffected(pair, Affected::NOTHING),
        }
    }
}

/// Edits every member of every JSON fixture of the provider. Returns the number of edited bodies.
fn edit_json(slug: &str) -> usize {
    let mut bodies = 0;
    for fixture in fixtures().iter().filter(|fixture| fixture.provider.slug == slug) {
        // Some fixtures are not valid JSON for this library.
        let Some(document) =
            Document::read(&fixture.body).filter(|_| fixture.content_type == "application/json")
        else {
            continue;
        };
        let whole = document.text(None);
        let original = parse(fixture, &whole);
        for member in document.members() {
            let names: Vec<&str> = member.names.iter().map(String::as_str).collect();
            let allowed = by_member(slug, &names);
            let neighbours = allowed.or(by_member(slug, &member.neighbour_names()));
            let mut edits = vec![
                (Edit::Remove, None, allowed),
                (Edit::Wrap, None, allowed),
                (Edit::Swap, None, neighbours),
                (Edit::RepeatAsIs, None, Affected::NOTHING),
            ];
            for (text, sunk) in nasty_json() {
                edits.push((Edit::Replace(text.clone()), sunk, allowed));
                // The parser need not read members outside of the events.
                let before = if sunk.is_some() { allowed } else { Affected::NOTHING };
                edits.push((Edit::RepeatBefore(text.clone()), sunk, before));
                edits.push((Edit::RepeatAfter(text), sunk, allowed));
            }
            for (edit, sunk, allowed) in edits {
                let body = document.text(Some((&member.path, &edit)));
                let context = Context(&fixture.situation, &member.names, &edit);
                check(&original, &parse(fixture, &body), sunk, member.event, allowed);
                bodies += 1;
                drop(context);
            }
        }
    }
    bodies
}

/// Prints the edit if the check panics.
struct Context<'a>(&'a str, &'a [String], &'a Edit);

impl Drop for Context<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let edit = format!("{:?}", self.2);
            let edit: String = edit.chars().take(100).collect();
            eprintln!("{}: {} {edit}", self.0, self.1.join("."));
        }
    }
}

#[test]
fn niu() {
    assert!(edit_json("niu") > 10_000);
}

#[test]
fn invers() {
    assert!(edit_json("invers") > 10_000);
}

#[test]
fn segway_in_json() {
    assert!(edit_json("segway") > 500);
}

#[test]
fn segway_forms() {
    let mut bodies = 0;
    for fixture in fixtures().iter().filter(|fixture| fixture.situation != "status") {
        if fixture.content_type == "application/json" {
            continue;
        }
        let whole = std::str::from_utf8(&fixture.body).unwrap().trim_end();
        let original = parse(fixture, whole);
        let pairs: Vec<(&str, &str)> = whole.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
        for (place, (name, value)) in pairs.iter().enumerate() {
            let allowed = by_member("segway", &[name]);
            let with = |inserted: &str| {
                let mut parts: Vec<String> =
                    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
                inserted.clone_into(&mut parts[place]);
                parts.join("&")
            };
            let mut edits = vec![
                (with(""), None, allowed),
                (with(&format!("{name}={value}&{name}={value}")), None, Affected::NOTHING),
            ];
            for (nasty, sunk) in nasty_form() {
                edits.push((with(&format!("{name}={nasty}")), sunk, allowed));
                edits.push((with(&format!("{name}={nasty}&{name}={value}")), sunk, Affected::NOTHING));
                edits.push((with(&format!("{name}={value}&{name}={nasty}")), sunk, allowed));
            }
            for (body, sunk, allowed) in edits {
                let edit = Edit::Replace(body.clone());
                let names = [(*name).to_owned()];
                let context = Context(&fixture.situation, &names, &edit);
                check(&original, &parse(fixture, &body), sunk, 0, allowed);
                bodies += 1;
                drop(context);
            }
        }
    }
    assert!(bodies > 5_000, "{bodies}");
}
