//! The load balancer settings in the README match the API's defaults.

use std::time::Duration;

use fleet_runtime::settings::Settings;

use super::manifests::at;
use super::read;
use crate::documents::text::{blocks, section};

const ANNOTATION: &str = "nginx.ingress.kubernetes.io/";

/// The value of an nginx directive, without its unit.
fn directive<'a>(nginx: &'a str, name: &str, unit: &str) -> &'a str {
    let mut found = nginx.lines().filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix(' '));
    let value = found.next().unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(found.next(), None, "{name} is there twice");
    value
        .strip_suffix(';')
        .and_then(|value| value.strip_suffix(unit))
        .unwrap_or_else(|| panic!("{name} {value}"))
}

fn mebibytes(text: &str) -> u64 {
    text.parse::<u64>().unwrap() << 20
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs(text.parse().unwrap())
}

#[test]
fn the_balancers_buffer_bodies_and_close_idle_connections_first() {
    let api = Settings::default().api;
    let section = section(&read("deploy/k8s/README.md"), "The balancer");
    let nginx = blocks(&section, "nginx").concat();
    assert_eq!(directive(&nginx, "proxy_request_buffering", ""), "on");
    assert_eq!(directive(&nginx, "proxy_http_version", ""), "1.1");
    assert_eq!(mebibytes(directive(&nginx, "client_max_body_size", "m")), api.max_body_bytes);
    assert!(seconds(directive(&nginx, "keepalive_timeout", "s")) < api.header_timeout);
    assert!(seconds(directive(&nginx, "client_body_timeout", "s")) <= api.body_timeout);

    let yaml = blocks(&section, "yaml");
    let [ingress, controller] = yaml.as_slice() else { panic!("{yaml:?}") };
    let ingress: serde_json::Value = yaml_serde::from_str(ingress).unwrap();
    let annotation = |name: &str| ingress["metadata"]["annotations"][format!("{ANNOTATION}{name}")].as_str();
    assert_eq!(annotation("proxy-request-buffering"), Some("on"));
    assert_eq!(annotation("proxy-http-version"), Some("1.1"));
    let body = annotation("proxy-body-size").and_then(|size| size.strip_suffix('m')).unwrap();
    assert_eq!(mebibytes(body), api.max_body_bytes);
    let controller: serde_json::Value = yaml_serde::from_str(controller).unwrap();
    let setting = |name: &str| at(&controller, &format!("/data/{name}")).as_str().unwrap();
    assert!(seconds(setting("upstream-keepalive-timeout")) < api.header_timeout);
    assert!(seconds(setting("client-body-timeout")) <= api.body_timeout);
}
