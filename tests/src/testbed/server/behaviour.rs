//! What a scripted server does, and how that is written in one line.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::span;

/// What the server does with a connection or a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers HTTP requests.
    Answer(Answer),
    /// Sends every byte back; no HTTP.
    Echo,
    /// Reads and never answers, for as long as the connection lives.
    Hang,
    /// Closes the connection in good order (FIN) right after accepting it.
    CloseOnAccept,
    /// Resets the connection (RST) right after accepting it.
    ResetOnAccept,
    /// Closes the connection (FIN) after a request was read, without an answer.
    CloseAfterRequest,
    /// Resets the connection (RST) after a request was read, without an answer.
    ResetAfterRequest,
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Length of the body, bytes.
    pub body_bytes: u64,
    /// Wait between the end of the request and the first byte.
    pub first_byte_after: Duration,
    /// In how many pieces the body is sent; at least 1.
    pub chunks: u32,
    /// Wait between two pieces.
    pub chunk_delay: Duration,
    /// Value of a `Retry-After` header, seconds.
    pub retry_after_seconds: Option<u32>,
    /// Whether the server closes the connection after the answer, and says so.
    pub close: bool,
}

impl Behaviour {
    /// Answers at once with this status and a body of this length.
    #[must_use]
    pub fn answer(status: u16, body_bytes: u64) -> Self {
        Self::Answer(Answer { status, body_bytes, ..Answer::default() })
    }

    /// Answers 200 with a short body after a wait.
    #[must_use]
    pub fn slow(first_byte_after: Duration) -> Self {
        Self::Answer(Answer { first_byte_after, ..Answer::default() })
    }

    /// Whether it applies at once to a connection that was just accepted.
    pub(super) fn is_on_accept(&self) -> bool {
        matches!(self, Self::CloseOnAccept | Self::ResetOnAccept)
    }
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            status: 200,
            body_bytes: 16,
            first_byte_after: Duration::ZERO,
            chunks: 1,
            chunk_delay: Duration::ZERO,
            retry_after_seconds: None,
            close: false,
        }
    }
}

impl FromStr for Behaviour {
    type Err = anyhow::Error;

    /// `answer [status=N] [body=BYTES] [delay=50ms] [chunks=N] [chunk-delay=10ms]
    /// [retry-after=SECONDS] [close]`, or one word: `echo`, `hang`, `close-on-accept`, …
    fn from_str(text: &str) -> Result<Self> {
        let mut words = text.split_whitespace();
        let behaviour = match words.next().context("no behaviour is named")? {
            "answer" => return answer(words).map(Self::Answer),
            "echo" => Self::Echo,
            "hang" => Self::Hang,
            "close-on-accept" => Self::CloseOnAccept,
            "reset-on-accept" => Self::ResetOnAccept,
            "close-after-request" => Self::CloseAfterRequest,
            "reset-after-request" => Self::ResetAfterRequest,
            other => bail!(
                "unknown behaviour `{other}`; known: answer, echo, hang, close-on-accept, \
                 reset-on-accept, close-after-request, reset-after-request"
            ),
        };
        match words.next() {
            Some(extra) => bail!("`{text}`: `{extra}` is too much"),
            None => Ok(behaviour),
        }
    }
}

fn answer<'a>(words: impl Iterator<Item = &'a str>) -> Result<Answer> {
    let mut answer = Answer::default();
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let context = || format!("`{word}`: not a value of `{key}`");
        match key {
            "status" => answer.status = value.parse().with_context(context)?,
            "body" => answer.body_bytes = value.parse().with_context(context)?,
            "delay" => answer.first_byte_after = span::parse(value)?,
            "chunks" => answer.chunks = value.parse::<u32>().with_context(context)?.max(1),
            "chunk-delay" => answer.chunk_delay = span::parse(value)?,
            "retry-after" => {
                answer.retry_after_seconds = Some(value.parse().with_context(context)?);
            }
            "close" if value.is_empty() => answer.close = true,
            _ => bail!(
                "unknown key `{word}`; known: status, body, delay, chunks, chunk-delay, \
                 retry-after, close"
            ),
        }
    }
    Ok(answer)
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = match self {
            Self::Answer(answer) => answer,
            Self::Echo => return f.write_str("echo"),
            Self::Hang => return f.write_str("hang"),
            Self::CloseOnAccept => return f.write_str("close-on-accept"),
            Self::ResetOnAccept => return f.write_str("reset-on-accept"),
            Self::CloseAfterRequest => return f.write_str("close-after-request"),
            Self::ResetAfterRequest => return f.write_str("reset-after-request"),
        };
        write!(
            f,
            "answer status={} body={} delay={} chunks={} chunk-delay={}",
            answer.status,
            answer.body_bytes,
            span::show(answer.first_byte_after),
            answer.chunks,
            span::show(answer.chunk_delay)
        )?;
        if let Some(seconds) = answer.retry_after_seconds {
            write!(f, " retry-after={seconds}")?;
        }
        if answer.close { f.write_str(" close") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::Behaviour;

    #[test]
    fn every_behaviour_is_read_back_from_what_it_is_shown_as() {
        for text in [
            "answer status=503 body=7 delay=20ms chunks=3 chunk-delay=1500us retry-after=9 close",
            "echo",
            "hang",
            "close-on-accept",
            "reset-on-accept",
            "close-after-request",
            "reset-after-request",
        ] {
            let behaviour: Behaviour = text.parse().unwrap();
            assert_eq!(behaviour.to_string(), text);
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (text, culprit) in
            [("sleep", "sleep"), ("answer colour=1", "colour=1"), ("hang 3", "3")]
        {
            let error = text.parse::<Behaviour>().unwrap_err().to_string();
            assert!(error.contains(culprit), "{error}");
        }
    }
}
