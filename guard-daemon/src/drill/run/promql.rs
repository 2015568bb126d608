//! One instant query to Prometheus, and the one number of its answer. It judges nothing, and never
//! makes one number of several: how that is to be done is the expression's matter.

use serde::Deserialize;
use serde_json::Value;

use super::super::spec::Query;
use super::http;

/// An answer with one number has a few hundred bytes.
const MOST_BYTES: usize = 1 << 20;
/// Most characters of Prometheus' own words that are shown.
const MOST_SHOWN: usize = 300;

/// What a query gave.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// A number; may be NaN or infinite.
    Number(f64),
    /// No sample: what is asked about is not there (now).
    Nothing,
    /// No answer, or none that is one number: why.
    Failed(String),
}

/// Asks, within the query's timeout.
pub(super) async fn ask(query: &Query) -> Answer {
    match tokio::time::timeout(query.timeout, answer(query)).await {
        Ok(answer) => answer.unwrap_or_else(Answer::Failed),
        Err(_) => Answer::Failed(format!("no answer of Prometheus within {:?}", query.timeout)),
    }
}

async fn answer(query: &Query) -> Result<Answer, String> {
    let answer = http::get(&url(query)).await?;
    let status = answer.status().as_u16();
    let body = http::body(answer, MOST_BYTES).await?;
    read(status, &body)
}

/// The request as a URL.
pub(in crate::drill) fn url(query: &Query) -> String {
    let mut words = form_urlencoded::Serializer::new(String::new());
    let words = words.append_pair("query", &query.promql).finish();
    let base = query.prometheus.trim_end_matches('/');
    format!("{base}/api/v1/query?{words}")
}

#[derive(Deserialize)]
struct Body {
    status: String,
    data: Option<Data>,
    #[serde(rename = "errorType", default)]
    error_type: String,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    result_type: String,
    result: Value,
}

/// The number of an answer.
fn read(status: u16, body: &[u8]) -> Result<Answer, String> {
    let body: Body = serde_json::from_slice(body)
        .map_err(|_| format!("status {status}, and not an answer of Prometheus' API"))?;
    if body.status != "success" {
        return Err(clean(&format!("Prometheus: {}: {}", body.error_type, body.error)));
    }
    let Some(data) = body.data else { return Err("Prometheus' answer has no data".into()) };
    match data.result_type.as_str() {
        "scalar" => number(Some(&data.result)),
        "vector" => match data.result.as_array().map(Vec::as_slice) {
            Some([]) => Ok(Answer::Nothing),
            Some([one]) if one.get("histogram").is_some() => {
                Err("the expression gives a histogram: make one number of it, such as with \
                     histogram_quantile()"
                    .into())
            }
            Some([one]) => number(one.get("value")),
            Some(many) => Err(format!(
                "the expression gives {} samples: aggregate it to one, such as with sum() or max()",
                many.len()
            )),
            None => Err("Prometheus' answer has no list of samples".into()),
        },
        "matrix" => {
            Err("the expression gives a range of samples: apply a function to it, such as \
                         rate() or avg_over_time()"
                .into())
        }
        other => Err(clean(&format!("the expression gives a {other}, which is no number"))),
    }
}

/// `[1435781451.781, "0.5"]`.
fn number(sample: Option<&Value>) -> Result<Answer, String> {
    let text = sample.and_then(|sample| sample.get(1)).and_then(Value::as_str);
    let number = text.and_then(|text| text.parse().ok());
    number
        .map(Answer::Number)
        .ok_or_else(|| "Prometheus' answer has a sample without a number".into())
}

/// Words from outside, on one line and not too many.
fn clean(text: &str) -> String {
    let is_long = text.chars().nth(MOST_SHOWN).is_some();
    let shown = text.chars().take(MOST_SHOWN).map(|c| if c.is_control() { ' ' } else { c });
    shown.collect::<String>() + if is_long { "..." } else { "" }
}

#[cfg(test)]
mod tests;
