//! A minimal Redis client, and a reader for the numbers in flat JSON.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use fleet_harness::Failure;
use fleet_testbed::Redis;

/// The timeout for connecting, and for each read and write.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The administrator, as in `docker-compose.yml`.
const LOGIN: &str = "AUTH fleet fleet";

/// Logs in, sends one command, and returns the values of the reply as a flat list. The words of the command
/// must contain no blanks or quotes.
pub(super) fn redis(port: u16, command: &str) -> io::Result<Vec<String>> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("{LOGIN}\r\n{command}\r\n").as_bytes())?;
    let mut reader = BufReader::new(stream);
    read_reply(&mut reader, &mut Vec::new())?;
    let mut values = Vec::new();
    read_reply(&mut reader, &mut values)?;
    Ok(values)
}

/// Sends one command to a Redis of the testbed, like [`redis`].
pub(super) fn server(redis: &Redis, command: &str) -> Result<Vec<String>, Failure> {
    self::redis(redis.port(), command).map_err(Failure::io(format!("send Redis {command}")))
}

/// Sends a command whose reply is one number.
pub(super) fn redis_number(port: u16, command: &str) -> io::Result<u64> {
    let values = redis(port, command)?;
    let number = values.first().and_then(|value| value.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("Redis answered {values:?} to {command}")))
}

fn read_reply(reader: &mut impl BufRead, values: &mut Vec<String>) -> io::Result<()> {
    // The number of values still to read. An array adds its length when its header is read.
    let mut left: usize = 1;
    while left > 0 {
        left -= 1;
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        let length = || line.get(1..).and_then(|digits| digits.parse().ok());
        match line.as_bytes().first() {
            Some(b'+' | b':') => values.extend(line.get(1..).map(str::to_owned)),
            Some(b'*') => left += length().unwrap_or(0),
            Some(b'$') => {
                let mut bytes = vec![0; length().map_or(0, |length: usize| length + 2)];
                reader.read_exact(&mut bytes)?;
                values.push(String::from_utf8_lossy(&bytes).trim_end().to_owned());
            }
            _ => return Err(io::Error::other(format!("Redis answered {line:?}"))),
        }
    }
    Ok(())
}

/// The unsigned number under `name` in a flat JSON object.
pub(super) fn json_number(object: &str, name: &str) -> Option<u64> {
    let key = format!("\"{name}\":");
    let (_, rest) = object.split_once(&key)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{json_number, read_reply};

    #[test]
    fn replies_of_every_used_form_are_read() {
        let read = |reply: &str| {
            let mut values = Vec::new();
            read_reply(&mut reply.as_bytes(), &mut values).map(|()| values)
        };
        assert_eq!(read(":12\r\n").unwrap(), ["12"]);
        assert_eq!(read("*2\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n").unwrap(), ["appendonly", "yes"]);
        assert!(read("-LOADING wait\r\n").is_err());
        assert!(read("").is_err());
    }

    #[test]
    fn a_number_is_found_by_its_whole_name() {
        let object = r#"{"ok":true,"telemetry_rows_max":7,"telemetry_rows":6}"#;
        assert_eq!(json_number(object, "telemetry_rows"), Some(6));
        assert_eq!(json_number(object, "telemetry_rows_max"), Some(7));
        assert_eq!(json_number(object, "rows"), None);
        assert_eq!(json_number(object, "ok"), None);
    }
}
