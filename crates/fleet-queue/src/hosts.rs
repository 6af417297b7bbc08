//! The hosts in the URL of Redis.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::topology::Topology;

/// Most hosts in a URL.
const MAX_HOSTS: usize = 16;

/// What a URL must look like.
const SHAPE: &str = "use redis://[user:password@]host:port[,host:port][/db], or rediss:// for TLS";

/// Why `rediss://…#insecure` is refused.
const INSECURE: &str = "#insecure would accept any certificate and therefore any server; remove it and set FLEET_TLS__CA_FILE \
                        to the file of the CA that signed the server's certificate";

/// Why a URL with an `@` behind the hosts is refused.
const MISPLACED: &str =
    "has an @ after the first /, ? or #; write these characters as %2F, %3F and %23 in a user or a password";

/// Parses a URL such as `rediss://user:password@a:1,b:2/0`. Every host gets the same login, database and protocol.
///
/// # Errors
///
/// All problems at once, without parts of the URL, which may contain a password in any place.
pub(crate) fn parse(url: &str, topology: Topology) -> Result<Vec<ConnectionInfo>, Vec<String>> {
    let Parts { before, hosts, after } = Parts::of(url).ok_or_else(|| vec![format!("is no URL; {SHAPE}")])?;
    if after.contains('@') {
        return Err(vec![MISPLACED.to_owned()]);
    }
    if hosts.len() > MAX_HOSTS {
        return Err(vec![format!("has more than {MAX_HOSTS} hosts; name fewer")]);
    }
    let (mut found, mut problems) = (Vec::<ConnectionInfo>::new(), Vec::new());
    let several = hosts.len() > 1;
    for (host, number) in hosts.iter().zip(1..) {
        let at = if several { format!(" (host {number})") } else { String::new() };
        if several && host.is_empty() {
            problems.push(format!("has an empty host{at}; remove the comma, or write the host"));
            continue;
        }
        match format!("{before}{}{after}", with_port(host, topology)).into_connection_info() {
            Ok(info) => match problem(&info, topology, several) {
                Some(problem) => problems.push(problem.to_owned()),
                None if found.iter().any(|other| other.addr() == info.addr()) => {
                    problems.push(format!("names a host twice{at}; remove one of them"));
                }
                None => found.push(info),
            },
            Err(error) => problems.push(format!("is not valid{at} ({error}); {SHAPE}")),
        }
    }
    // What is wrong with the part after the hosts is wrong for each of them.
    problems.dedup();
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

fn problem(info: &ConnectionInfo, topology: Topology, several: bool) -> Option<&'static str> {
    if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        return Some(INSECURE);
    }
    if matches!(info.addr(), ConnectionAddr::Unix(_)) && (several || topology != Topology::Single) {
        return Some("must not be a Unix socket with several hosts, Sentinels or a cluster; use host:port");
    }
    (topology == Topology::Cluster && info.redis_settings().db() != 0).then_some(
        "must not have a database number with FLEET_REDIS__TOPOLOGY=cluster, because a Redis Cluster has only \
         database 0; remove it",
    )
}

/// A URL around its hosts.
struct Parts<'a> {
    /// Scheme and login.
    before: &'a str,
    hosts: Vec<&'a str>,
    /// Database, query and fragment.
    after: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let start = url.find("://")? + "://".len();
        let rest = url.get(start..)?;
        let authority = rest.get(..rest.find(['/', '?', '#']).unwrap_or(rest.len()))?;
        let hosts = authority.rsplit_once('@').map_or(authority, |(_login, hosts)| hosts);
        let hosts_end = start + authority.len();
        Some(Self {
            before: url.get(..hosts_end - hosts.len())?,
            hosts: hosts.split(',').collect(),
            after: url.get(hosts_end..)?,
        })
    }
}

/// The host with the topology's default port, if it has none.
fn with_port(host: &str, topology: Topology) -> String {
    // An IPv6 address has its colons in brackets.
    let after_address = host.rsplit_once(']').map_or(host, |(_address, port)| port);
    let has_none = !host.is_empty() && !after_address.contains(':');
    if has_none { format!("{host}:{}", topology.default_port()) } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(url: &str, topology: Topology) -> Vec<String> {
        parse(url, topology).unwrap().iter().map(|info| info.addr().to_string()).collect()
    }

    fn problems(url: &str, topology: Topology) -> String {
        parse(url, topology).unwrap_err().join("\n")
    }

    #[test]
    fn every_host_has_the_login_and_the_database() {
        let hosts = parse("rediss://api:p%40ss,word@a:1,[::1]:2,c/3", Topology::Single).unwrap();
        let addresses: Vec<_> = hosts.iter().map(|info| info.addr().to_string()).collect();
        assert_eq!(addresses, ["a:1", "::1:2", "c:6379"]);
        for info in hosts {
            let login = info.redis_settings();
            assert_eq!((login.username(), login.password()), (Some("api"), Some("p@ss,word")));
            assert_eq!(login.db(), 3);
            assert!(matches!(info.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
        }
    }

    #[test]
    fn sentinels_have_another_default_port() {
        assert_eq!(addresses("redis://a,b:1,[::1]", Topology::Sentinel), ["a:26379", "b:1", "::1:26379"]);
        assert_eq!(addresses("valkey://a", Topology::Cluster), ["a:6379"]);
    }

    #[test]
    fn one_host_may_be_a_socket() {
        assert_eq!(addresses("unix:///run/redis.sock", Topology::Single), ["/run/redis.sock"]);
        assert!(problems("unix:///run/redis.sock", Topology::Sentinel).contains("Unix socket"));
    }

    #[test]
    fn all_problems_are_named_without_the_url() {
        let found = problems("rediss://u:hunter2@a:1,,a:1,b:port,c:3#insecure", Topology::Cluster);
        for expected in ["#insecure", "empty host (host 2)", "not valid (host 4)"] {
            assert!(found.contains(expected), "{expected}: {found}");
        }
        assert!(!found.contains("hunter2"), "{found}");
        assert!(problems("redis://a:1,b:2,a:1", Topology::Single).contains("twice (host 3)"));
        assert!(problems("redis://a:1,b:2/4", Topology::Cluster).contains("only database 0"));
        assert!(problems(&format!("redis://a{}", ",b".repeat(16)), Topology::Single).contains("16 hosts"));
        assert!(problems("cache", Topology::Single).contains("redis://"));
        for url in ["redis://u:pass,hunter2/x@a:1", "redis://u:#hunter2@a", "http://u:hunter2@a/"] {
            assert!(!problems(url, Topology::Single).contains("hunter2"), "{url}");
        }
    }
}
