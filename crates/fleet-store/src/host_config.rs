//! One driver configuration for each host of a database URL.

use tokio_postgres::Config;
use tokio_postgres::config::{Host, TargetSessionAttrs};

use crate::StoreError;

/// PostgreSQL's port.
const PORT: u16 = 5432;

/// Splits a configuration into one for each host. With several hosts each one must accept writes: the others are
/// standbys, and every program needs the primary.
///
/// # Errors
///
/// [`StoreError::Url`] if hosts, addresses and ports do not match.
pub(crate) fn of_each_host(config: &Config) -> Result<Vec<Config>, StoreError> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(addresses.len());
    if count == 0 {
        return Err(StoreError::Url("it names no host".to_owned()));
    }
    if (hosts.len() != count && !hosts.is_empty()) || (addresses.len() != count && !addresses.is_empty()) {
        return Err(StoreError::Url("it must have as many hosts as values of hostaddr".to_owned()));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(StoreError::Url("it must have one port, or as many as hosts".to_owned()));
    }
    let of_host = |index: usize| {
        let mut of_host = without_hosts(config);
        match hosts.get(index) {
            Some(Host::Tcp(name)) => _ = of_host.host(name.as_str()),
            Some(Host::Unix(path)) => _ = of_host.host_path(path),
            None => {}
        }
        if let Some(&address) = addresses.get(index) {
            of_host.hostaddr(address);
        }
        of_host.port(ports.get(index).or_else(|| ports.first()).copied().unwrap_or(PORT));
        if count > 1 {
            of_host.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        of_host
    };
    Ok((0..count).map(of_host).collect())
}

/// The driver can add hosts to a configuration, but not remove them.
fn without_hosts(config: &Config) -> Config {
    let mut copy = Config::new();
    copy.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding());
    config.get_user().map(|user| copy.user(user));
    config.get_password().map(|password| copy.password(password));
    config.get_dbname().map(|database| copy.dbname(database));
    config.get_options().map(|options| copy.options(options));
    config.get_application_name().map(|name| copy.application_name(name));
    config.get_connect_timeout().map(|timeout| copy.connect_timeout(*timeout));
    config.get_tcp_user_timeout().map(|timeout| copy.tcp_user_timeout(*timeout));
    config.get_keepalives_interval().map(|interval| copy.keepalives_interval(interval));
    config.get_keepalives_retries().map(|retries| copy.keepalives_retries(retries));
    copy
}

/// The port of a host's configuration.
pub(crate) fn port(config: &Config) -> u16 {
    config.get_ports().first().copied().unwrap_or(PORT)
}

/// A host and its port, for errors.
pub(crate) fn name(config: &Config) -> String {
    let host = match (config.get_hosts().first(), config.get_hostaddrs().first()) {
        (Some(Host::Tcp(name)), _) => name.clone(),
        (Some(Host::Unix(path)), _) => path.display().to_string(),
        (None, Some(address)) => address.to_string(),
        (None, None) => String::new(),
    };
    format!("{host}:{}", port(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(url: &str) -> Result<Vec<Config>, String> {
        of_each_host(&url.parse().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn one_host_is_left_as_it_is() {
        let url = "postgres://u:p@db/fleet?connect_timeout=3&tcp_user_timeout=4&keepalives=0&keepalives_idle=5\
                   &keepalives_interval=6&keepalives_retries=7&options=-c%20a%3Db&application_name=me\
                   &sslmode=require&sslnegotiation=direct&channel_binding=require&target_session_attrs=read-only";
        let config: Config = url.parse().unwrap();
        assert_eq!(split(url).unwrap(), [config]);
    }

    #[test]
    fn several_hosts_are_candidates_for_the_primary() {
        let names = |url| -> Vec<_> { split(url).unwrap().iter().map(name).collect() };
        assert_eq!(names("postgres://u@a:1,b,[::1]:3/fleet"), ["a:1", "b:5432", "::1:3"]);
        assert_eq!(
            names("postgres:///fleet?hostaddr=127.0.0.1,127.0.0.2&port=7"),
            ["127.0.0.1:7", "127.0.0.2:7"]
        );
        for each in split("postgres://u@a,b/fleet").unwrap() {
            assert_eq!(each.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
            assert_eq!((each.get_hosts().len(), each.get_ports().len()), (1, 1));
        }
        let one = split("postgres://u@a/fleet").unwrap();
        assert_eq!(one[0].get_target_session_attrs(), TargetSessionAttrs::Any);
    }

    #[test]
    fn what_does_not_match_is_refused() {
        for (url, said) in [
            ("postgres:///fleet", "no host"),
            ("postgres://u@a,b/fleet?hostaddr=127.0.0.1", "hostaddr"),
            ("postgres:///fleet?hostaddr=127.0.0.1,127.0.0.2&port=1,2,3", "port"),
        ] {
            assert!(split(url).unwrap_err().contains(said), "{url}");
        }
    }
}
