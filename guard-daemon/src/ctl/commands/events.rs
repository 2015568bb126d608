//! `guardctl events`, once or as a stream.

use super::super::cli::EventsArgs;
use super::super::client::{Client, percent_encode};
use super::super::output::Output;
use super::super::view;
use crate::control::api::{ErrorBody, EventRecord, Events};

const LIMIT: usize = 50;
const LIMIT_BEFORE_FOLLOW: usize = 10;

pub(super) async fn run(
    client: &Client,
    arguments: EventsArgs,
    output: &Output,
) -> Result<u8, ErrorBody> {
    let target = target(&arguments);
    if !arguments.follow {
        let answer: Events = client.get(&target).await?;
        output.answer(&answer, |look| view::events(&answer, look))?;
        return Ok(0);
    }
    let mut lines = client.stream(&target).await?;
    while let Some(record) = lines.next::<EventRecord>().await? {
        if !output.item(&record, |look| view::event(&record, look))? {
            break;
        }
    }
    Ok(0)
}

fn target(arguments: &EventsArgs) -> String {
    let limit = if arguments.follow { LIMIT_BEFORE_FOLLOW } else { LIMIT };
    let limit = arguments.limit.unwrap_or(limit);
    let mut target = format!("/v1/events?limit={limit}&follow={}", arguments.follow);
    for (key, value) in [
        ("bulkhead", &arguments.bulkhead),
        ("service", &arguments.service),
        ("kind", &arguments.kind),
    ] {
        if let Some(value) = value {
            target.push_str(&format!("&{key}={}", percent_encode(value)));
        }
    }
    target
}
