//! Time and memory are linear in the body's size: eight times the bytes take about eight times as long.
//!
//! Measures the CPU time of this thread, so that other tests do not count.

use std::fmt::Write as _;

use fleet_providers::{AuthScheme, Limits, Message, PROVIDERS};
use http::HeaderMap;
use rustix::time::{ClockId, clock_gettime};

use crate::support::{SECRET, received_at, secrets};

/// How many times larger the larger body is.
const TIMES: usize = 8;
/// The highest allowed ratio of times. A quadratic parser takes 64 times as long, a linear one 8 times, one that sorts
/// about 10 times.
const MOST: f64 = 28.0;
/// Shorter times, in seconds, are too short to measure.
const SHORTEST: f64 = 50e-6;
/// The approximate size of the smaller body, large enough to measure its time.
const SMALL_BYTES: usize = 16 * 1024;

/// The CPU time of this thread.
fn cpu_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "seconds of a test")]
    let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    seconds
}

/// The CPU time that `run` takes.
fn timed(run: impl FnOnce()) -> f64 {
    let before = cpu_time();
    run();
    cpu_time() - before
}

/// `unit(index)` repeated between `head` and `tail` until the text has about this many bytes.
fn body(head: &str, unit: impl Fn(usize) -> String, tail: &str, bytes: usize) -> String {
    let mut text = head.to_owned();
    for index in 0.. {
        if text.len() >= bytes {
            break;
        }
        text.write_str(&unit(index)).unwrap();
    }
    text.push_str(tail);
    text
}

type Shape = (&'static str, &'static str, fn(usize) -> String, &'static str);

/// Head, unit, tail.
fn json_shapes() -> Vec<Shape> {
    vec![
        ("one name again and again", "{\"sn\":\"A\"", |_| ",\"nowSpeed\":1".to_owned(), "}"),
        ("a name read as an object", "{\"sn\":\"A\"", |_| ",\"batteries\":{\"a\":1}".to_owned(), "}"),
        ("many names", "{\"sn\":\"A\"", |index| format!(",\"{index}\":1"), "}"),
        ("empty names", "{\"sn\":\"A\"", |_| ",\"\":1".to_owned(), "}"),
        ("digits of a number", "{\"sn\":\"A\",\"nowSpeed\":1", |_| "7".to_owned(), "}"),
        ("digits of a fraction", "{\"sn\":\"A\",\"nowSpeed\":0.", |_| "3".to_owned(), "}"),
        ("digits of an exponent", "{\"sn\":\"A\",\"nowSpeed\":1e", |_| "0".to_owned(), "1}"),
        ("digits of a time", "{\"sn\":\"A\",\"infoTimestamp\":1718000000.", |_| "3".to_owned(), "}"),
        (
            "digits of a written time",
            "{\"sn\":\"A\",\"infoTimestamp\":\"2024-06-10T06:13:20.",
            |_| "3".to_owned(),
            "Z\"}",
        ),
        ("a time of blanks", "{\"sn\":\"A\",\"infoTimestamp\":\"1 ", |_| "T ".to_owned(), "\"}"),
        ("escapes", "{\"sn\":\"A\",\"type\":\"", |_| "\\n\\\"\\\\".to_owned(), "\"}"),
        ("pairs of surrogates", "{\"sn\":\"A\",\"type\":\"", |_| "\\ud83d\\ude00".to_owned(), "\"}"),
        ("an escaped name", "{\"sn\":\"A\",\"", |_| "\\u0041".to_owned(), "\":1}"),
        ("an escaped vehicle", "{\"sn\":\"", |_| "\\u0041".to_owned(), "\"}"),
        ("white space", "{\"sn\":\"A\"", |_| " \n".to_owned(), "}"),
        ("brackets side by side", "{\"sn\":\"A\",\"x\":[0", |_| ",[[[[]]]]".to_owned(), "]}"),
        (
            "legal depth again and again",
            "{\"sn\":\"A\",\"x\":[0",
            |_| format!(",{}{}", "[".repeat(60), "]".repeat(60)),
            "]}",
        ),
        ("unclosed brackets in a string", "{\"sn\":\"A\",\"x\":\"", |_| "[{".to_owned(), "\"}"),
        (
            "a position of many members",
            "{\"sn\":\"A\",\"postion\":{\"lat\":1,\"lng\":1",
            |_| ",\"lat\":1".to_owned(),
            "}}",
        ),
        (
            "a property of many members",
            "{\"metadata\":{},\"data\":{\"vehicle_id\":\"A\",\"ignition\":{\"value\":\"ON\"",
            |_| ",\"timestamp\":1".to_owned(),
            "}}}",
        ),
        (
            "many properties",
            "{\"metadata\":{},\"data\":{\"vehicle_id\":\"A\"",
            |_| ",\"ignition\":{}".to_owned(),
            "}}",
        ),
        ("nested data", "{\"data\":{\"data\":{\"data\":[0", |_| ",0".to_owned(), "]}}}"),
        ("an array of numbers", "[0", |_| ",0".to_owned(), "]"),
        ("wrapped numbers", "{\"data\":[0", |_| ",0".to_owned(), "]}"),
        ("an array of objects", "[{}", |_| ",{}".to_owned(), "]"),
        ("an array that never ends", "[{\"sn\":\"A\"}", |_| ",{\"sn\":\"A\"}".to_owned(), ""),
        ("brackets that close nothing", "[{\"sn\":[[[[", |_| "}[".to_owned(), "]"),
        ("brackets that nothing closes", "[{\"sn\":\"A\"}", |_| ",[{".to_owned(), "]"),
        ("elements that are not closed", "[{\"sn\":\"A\"}", |_| ",{\"sn\":[}".to_owned(), "]"),
        (
            "escapes of what cannot be stored",
            "{\"sn\":\"A\",\"x\":\"",
            |_| "\\u0000\\ud800".to_owned(),
            "\"}",
        ),
        ("a string that never ends", "{\"sn\":\"", |_| "x".to_owned(), ""),
    ]
}

fn form_shapes() -> Vec<Shape> {
    vec![
        ("one name again and again", "iotCode=1", |_| "&speed=1".to_owned(), ""),
        ("many names", "iotCode=1", |index| format!("&{index}=1"), ""),
        ("names that begin alike", "iotCode=1", |index| format!("&{}{index}=", "x".repeat(200)), ""),
        ("empty pairs", "iotCode=1", |_| "&".to_owned(), ""),
        ("empty names", "iotCode=1", |_| "&=".to_owned(), ""),
        ("escapes", "iotCode=1&x=", |_| "%41+".to_owned(), ""),
        ("broken escapes", "iotCode=1&x=", |_| "%".to_owned(), ""),
        ("digits", "iotCode=1&speed=1", |_| "7".to_owned(), ""),
        ("equals signs", "iotCode=1&x=", |_| "=".to_owned(), ""),
        ("what JSON escapes", "iotCode=1&x=", |_| "%01\"\\".to_owned(), ""),
    ]
}

/// Compares the times that `work` takes for a body and for one of [`TIMES`] its size.
fn assert_linear(what: &str, shape: &Shape, work: impl Fn(&[u8])) {
    let (name, head, unit, tail) = shape;
    let small = body(head, unit, tail, SMALL_BYTES);
    let large = body(head, unit, tail, SMALL_BYTES * TIMES);
    let ratio = || timed(|| work(large.as_bytes())) / timed(|| work(small.as_bytes())).max(SHORTEST);
    // A cold cache or a page fault may slow down one run, but not every run.
    let ratios: Vec<f64> = (0..4).map(|_| ratio()).take_while(|ratio| *ratio >= MOST).collect();
    assert!(ratios.len() < 4, "{what}, {name}: {TIMES} times the bytes take {ratios:.0?} times as long");
}

fn parse_all(shapes: &[Shape], content_type: &str) {
    for provider in PROVIDERS {
        for shape in shapes {
            assert_linear(provider.slug, shape, |body| {
                let content_type = Some(content_type);
                let message = Message { topic: "", content_type, received_at: received_at(), body };
                let _ = provider.parse(&message, &Limits::default());
            });
        }
    }
}

#[test]
fn parsing_json() {
    parse_all(&json_shapes(), "application/json");
}

#[test]
fn parsing_forms() {
    parse_all(&form_shapes(), "application/x-www-form-urlencoded");
}

#[test]
fn checking_a_signature() {
    let secrets = secrets(&[SECRET]);
    let signature = "&signature=00000000000000000000000000000000";
    for (content_type, shapes) in
        [("application/x-www-form-urlencoded", form_shapes()), ("application/json", json_shapes())]
    {
        for shape in shapes {
            assert_linear("signature", &shape, |body| {
                // A form without a signature is not read completely.
                let body = [body, signature.as_bytes()].concat();
                let scheme = AuthScheme::SegwayMd5;
                let _ = scheme.verify_body(&HeaderMap::new(), Some(content_type), &body, &secrets);
            });
        }
    }
}
