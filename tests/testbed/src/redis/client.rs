//! A minimal client for administrative commands.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::options::RedisServer;
use crate::root::{Account, Root};

/// The timeout for connecting, and for each read and write.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A user and its password.
pub(crate) type Login<'a> = (&'a str, &'a str);

/// Logs in if there is a login, sends one command, and returns the values of the reply as a flat list. A null
/// is an empty value.
pub(crate) fn ask(port: u16, login: Option<Login<'_>>, words: &[&str]) -> io::Result<Vec<String>> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let greeting = login.map(|(user, password)| encode(&["AUTH", user, password]));
    let request = greeting.clone().unwrap_or_default() + &encode(words);
    stream.write_all(request.as_bytes())?;
    let mut reader = BufReader::new(stream);
    if greeting.is_some() {
        read_reply(&mut reader)?;
    }
    read_reply(&mut reader)
}

/// Like [`ask`], in the root's command-line client, which encrypts and verifies nothing. The list has one value
/// for each line.
pub(crate) fn ask_with_tls(
    root: &Root,
    account: Account,
    server: RedisServer,
    port: u16,
    login: Option<Login<'_>>,
    words: &[&str],
) -> io::Result<Vec<String>> {
    let login = login.map(|(user, password)| ["--user", user, "--pass", password, "--no-auth-warning"]);
    let port = port.to_string();
    let seconds = TIMEOUT.as_secs().to_string();
    let argv = [
        &["timeout", &seconds, server.client(), "--tls", "--insecure", "-p", &port, "-e"][..],
        login.as_ref().map_or(&[], |login| &login[..]),
        words,
    ]
    .concat();
    let argv: Vec<String> = argv.into_iter().map(str::to_owned).collect();
    let output = root.command_as(account, None, &argv).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned();
        return Err(io::Error::other(format!("{}: {said}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn encode(words: &[&str]) -> String {
    let encoded = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    encoded.fold(format!("*{}\r\n", words.len()), |text, word| text + &word)
}

fn read_reply(reader: &mut impl BufRead) -> io::Result<Vec<String>> {
    let mut values = Vec::new();
    // The number of values still to read. An array adds its length when its header is read.
    let mut left: usize = 1;
    while left > 0 {
        left -= 1;
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        let Some((kind, rest)) = line.split_at_checked(1) else {
            return Err(io::Error::other("the server closed the connection"));
        };
        let length = || rest.parse::<usize>().ok();
        match kind {
            "+" | ":" => values.push(rest.to_owned()),
            "*" => left += length().unwrap_or(0),
            "$" => values.push(read_text(reader, length())?),
            _ => return Err(io::Error::other(format!("the server answered {line:?}"))),
        }
    }
    Ok(values)
}

/// Reads a bulk string, which is followed by a line end. A null has no length and no text.
fn read_text(reader: &mut impl BufRead, length: Option<usize>) -> io::Result<String> {
    let Some(length) = length else { return Ok(String::new()) };
    let mut bytes = vec![0; length + 2];
    reader.read_exact(&mut bytes)?;
    bytes.truncate(length);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{encode, read_reply};

    #[test]
    fn replies_of_every_used_form_are_read() {
        let read = |reply: &str| read_reply(&mut reply.as_bytes());
        assert_eq!(read(":12\r\n").unwrap(), ["12"]);
        assert_eq!(read("*2\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n").unwrap(), ["appendonly", "yes"]);
        assert_eq!(read("*2\r\n*1\r\n+a\r\n$-1\r\n").unwrap(), ["a", ""]);
        assert_eq!(read("$4\r\na\r\nb\r\n").unwrap(), ["a\r\nb"]);
        assert!(read("-LOADING wait\r\n").is_err());
        assert!(read("").is_err());
    }

    #[test]
    fn words_are_sent_with_their_lengths() {
        assert_eq!(encode(&["SET", "a b", ""]), "*3\r\n$3\r\nSET\r\n$3\r\na b\r\n$0\r\n\r\n");
    }
}
