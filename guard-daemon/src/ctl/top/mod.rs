//! `guardctl top`: bulkheads live. It looks and never changes anything. Whatever ends it (a key, a
//! signal, a panic, guardd's end), the terminal is as it was before.

mod app;
mod columns;
mod details;
mod model;
mod screen;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal as _, stdin, stdout};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event};
use ratatui::{DefaultTerminal, Terminal};
use serde::Deserialize as _;
use tokio::sync::mpsc;

use self::app::{After, App};
use self::model::{Answers, Extra};
use super::client::Client;
use super::interrupt::Interrupt;
use crate::control::api::{Breakers, ErrorBody, Status};

/// How long the reader of keys waits before it looks whether anybody still wants them.
const KEY_WAIT: Duration = Duration::from_millis(200);

/// Shows the screen until somebody ends it.
pub(super) async fn run(client: &Client, json: bool, interval: Duration) -> Result<u8, ErrorBody> {
    terminal_there(json)?;
    // The first answer before the screen: what is wrong then is said as every command says it.
    let mut app = App::default();
    app.model.take(0.0, ask(client).await?);
    let mut interrupt = Interrupt::new()?;
    let mut terminal = ratatui::try_init().map_err(|error| failed(&error))?;
    let result = show(client, &mut app, interval, &mut interrupt, &mut terminal).await;
    let restored = ratatui::try_restore().map_err(|error| failed(&error));
    result.and(restored).map(|()| 0)
}

/// Whether somebody can look and press keys.
fn terminal_there(json: bool) -> Result<(), ErrorBody> {
    let missing = if json {
        "--json asks for a document, which top is not"
    } else if !stdout().is_terminal() {
        "standard output is no terminal"
    } else if !stdin().is_terminal() {
        "standard input is no terminal"
    } else if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        "TERM=dumb cannot move its cursor"
    } else {
        return Ok(());
    };
    Err(ErrorBody {
        error: format!("top needs a terminal: {missing}"),
        help: "guardctl status shows the same once; guardctl status --json is for programs".into(),
        exit_code: 2,
    })
}

fn failed(error: &std::io::Error) -> ErrorBody {
    ErrorBody {
        error: format!("the terminal cannot be used: {error}"),
        help: "guardctl status shows the same once".into(),
        exit_code: 1,
    }
}

async fn show(
    client: &Client,
    app: &mut App,
    interval: Duration,
    interrupt: &mut Interrupt,
    terminal: &mut DefaultTerminal,
) -> Result<(), ErrorBody> {
    let start = Instant::now();
    let mut keys = read_keys()?;
    let (sender, mut answers) = mpsc::channel(1);
    let asking = client.clone();
    let poller = tokio::spawn(async move {
        loop {
            tokio::time::sleep(interval).await;
            if sender.send(ask(&asking).await).await.is_err() {
                break;
            }
        }
    });
    let ended = loop {
        if let Err(error) = draw(terminal, app) {
            break Err(failed(&error));
        }
        tokio::select! {
            () = interrupt.wait() => break Ok(()),
            key = keys.recv() => match key {
                Some(Event::Key(key)) if app.key(key) == After::Quit => break Ok(()),
                Some(_) => {}
                // The terminal is gone.
                None => break Ok(()),
            },
            answer = answers.recv() => match answer {
                Some(Ok(answer)) => {
                    app.trouble.clear();
                    if !app.paused {
                        app.model.take(start.elapsed().as_secs_f64(), answer);
                    }
                }
                Some(Err(body)) => app.trouble = body.error,
                None => break Ok(()),
            },
        }
    };
    poller.abort();
    ended
}

fn draw<B: ratatui::backend::Backend>(
    terminal: &mut Terminal<B>,
    app: &mut App,
) -> Result<(), B::Error> {
    terminal.draw(|frame| screen::draw(frame, app)).map(drop)
}

/// Keys, from a thread that ends with their receiver.
fn read_keys() -> Result<mpsc::Receiver<Event>, ErrorBody> {
    let (sender, keys) = mpsc::channel(16);
    let read = move || {
        while !sender.is_closed() {
            match event::poll(KEY_WAIT) {
                Ok(false) => {}
                Ok(true) => {
                    let Ok(event) = event::read() else { return };
                    if sender.blocking_send(event).is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    };
    std::thread::Builder::new()
        .name("keys".to_owned())
        .spawn(read)
        .map_err(|error| failed(&error))?;
    Ok(keys)
}

/// One round of questions.
async fn ask(client: &Client) -> Result<Answers, ErrorBody> {
    let raw: serde_json::Value = client.get("/v1/status").await?;
    let breakers: Breakers = client.get("/v1/breakers").await?;
    let garbled = |error: serde_json::Error| ErrorBody {
        error: format!("guardd's status cannot be read: {error}"),
        help: "guardctl version shows both versions".into(),
        exit_code: 4,
    };
    let bulkheads = raw["bulkheads"].as_array().map(Vec::as_slice).unwrap_or_default();
    let extras = bulkheads.iter().map(Extra::deserialize).collect::<Result<_, _>>();
    let extras = extras.map_err(garbled)?;
    let status = Status::deserialize(raw).map_err(garbled)?;
    Ok(Answers { status, extras, breakers: breakers.breakers })
}
