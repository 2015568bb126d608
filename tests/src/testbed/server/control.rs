//! The line protocol of `testbed-server --control`: one command per line on standard input, one
//! JSON document per line on standard output. It ends with its standard input, so that a server
//! never outlives the test that started it.

use std::io::{BufRead, Write};
use std::net::SocketAddr;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{Counts, Server};

/// The first line, before any command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// TCP addresses.
    pub tcp: Vec<SocketAddr>,
    /// UDP addresses.
    pub udp: Vec<SocketAddr>,
}

/// The answer to one command.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reply {
    /// Why it was not done; absent if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The answer to `counts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
}

/// Says hello, then carries out commands until `quit` or the end of `commands`.
pub fn serve(server: &mut Server, commands: impl BufRead, mut replies: impl Write) -> Result<()> {
    let hello = Hello { tcp: server.addresses(), udp: server.udp_addresses() };
    writeln!(replies, "{}", serde_json::to_string(&hello)?)?;
    replies.flush()?;
    for line in commands.lines() {
        let line = line?;
        if line.trim() == "quit" {
            break;
        }
        let reply = command(server, line.trim())
            .unwrap_or_else(|error| Reply { error: Some(format!("{error:#}")), counts: None });
        writeln!(replies, "{}", serde_json::to_string(&reply)?)?;
        replies.flush()?;
    }
    Ok(())
}

fn command(server: &mut Server, line: &str) -> Result<Reply> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb {
        "set" => server.set(rest.parse()?),
        "push" => server.push(rest.parse()?),
        "refuse" => server.refuse(),
        "listen" => server.listen()?,
        "close-all" => server.close_all(),
        "reset-all" => server.reset_all(),
        "counts" => return Ok(Reply { error: None, counts: Some(server.counts()) }),
        _ => bail!(
            "unknown command `{verb}`; known: set BEHAVIOUR, push BEHAVIOUR, refuse, listen, \
             close-all, reset-all, counts, quit"
        ),
    }
    Ok(Reply::default())
}
