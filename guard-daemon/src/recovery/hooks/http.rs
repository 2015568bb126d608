//! Posts an incident to a webhook, in clear text, and tries again as the retry policies say. It follows no
//! redirection, keeps no connection and never reads the answer's body.

use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::{HookOptions, Tell};
use crate::plan::{NETWORK_ERROR, RATE_LIMIT, RetryPolicyPlan, VALIDATION_ERROR};
use crate::recovery::{ActionResult, Outcome, Situation, again};

/// One try that failed.
struct Failed {
    why: String,
    /// The policy of this type of error.
    policy: &'static str,
    retry_after: Option<Duration>,
}

/// Posts it; any answer of 2xx is good. A try that another one follows is told to `tell`. A pause that
/// does not fit into the time is not begun. Not to be called within a tokio runtime.
pub fn post(
    url: &str,
    options: &HookOptions<'_>,
    policies: &[RetryPolicyPlan],
    situation: &Situation,
    tell: &Tell<'_>,
) -> Outcome {
    let begin = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (result, message) = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(async {
                let tried =
                    Box::pin(try_all(url, begin + options.timeout, policies, situation, tell));
                match tokio::time::timeout(options.timeout, tried).await {
                    Ok(Ok(status)) => (ActionResult::Done, format!("{url} answered {status}")),
                    Ok(Err(why)) => (ActionResult::Failed, format!("{url}: {why}")),
                    Err(_) => {
                        let limit = options.timeout;
                        (ActionResult::TimedOut, format!("{url}: not done within {limit:?}"))
                    }
                }
            });
            // A plain drop would wait for a name that is still being resolved, and so for longer than
            // the timeout where DNS is silent.
            runtime.shutdown_background();
            ended
        }
        Err(error) => (ActionResult::Failed, format!("no runtime for a webhook: {error}")),
    };
    Outcome { result, message, took: begin.elapsed() }
}

async fn try_all(
    url: &str,
    until: Instant,
    policies: &[RetryPolicyPlan],
    situation: &Situation,
    tell: &Tell<'_>,
) -> Result<StatusCode, String> {
    let mut tried = 0;
    loop {
        let failed = match try_once(url, situation).await {
            Ok(status) => return Ok(status),
            Err(failed) => failed,
        };
        let policy = policies.iter().find(|policy| policy.name == failed.policy);
        tried += 1;
        let left = until.saturating_duration_since(Instant::now());
        let pause = again(policy, tried, situation.incident, failed.retry_after, left)
            .map_err(|why| format!("{}; {why}", failed.why))?;
        tell(tried, &failed.why, pause);
        tokio::time::sleep(pause).await;
    }
}

async fn try_once(url: &str, situation: &Situation) -> Result<StatusCode, Failed> {
    let failed = |why: String, policy| Failed { why, policy, retry_after: None };
    let text =
        serde_json::to_vec(situation).map_err(|e| failed(e.to_string(), VALIDATION_ERROR))?;
    let request = Request::post(url)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(text)))
        .map_err(|error| failed(format!("no URL: {error}"), VALIDATION_ERROR))?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    match client.request(request).await {
        Ok(answer) if answer.status().is_success() => Ok(answer.status()),
        Ok(answer) => Err(of_status(&answer)),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|c| format!(": {c}"));
            Err(failed(format!("{error}{}", cause.unwrap_or_default()), NETWORK_ERROR))
        }
    }
}

fn of_status<B>(answer: &Response<B>) -> Failed {
    let status = answer.status();
    let policy = match status {
        StatusCode::TOO_MANY_REQUESTS => RATE_LIMIT,
        status if status.is_server_error() => NETWORK_ERROR,
        _ => VALIDATION_ERROR,
    };
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    Failed {
        why: format!("answered {status}"),
        policy,
        retry_after: retry_after.and_then(|text| text.parse().ok()).map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers each request with the next of these, and gives back what was asked.
    fn server(answers: &'static [&'static str]) -> (String, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let asked = thread::spawn(move || {
            let mut bodies = Vec::new();
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                let mut lines = BufReader::new(&stream);
                let (mut line, mut length) = (String::new(), 0);
                while lines.read_line(&mut line).unwrap() > 2 {
                    let lower = line.to_lowercase();
                    if let Some(text) = lower.strip_prefix("content-length:") {
                        length = text.trim().parse().unwrap();
                    }
                    line.clear();
                }
                let mut body = vec![0; length];
                lines.read_exact(&mut body).unwrap();
                bodies.push(String::from_utf8(body).unwrap());
                (&stream).write_all(answer.as_bytes()).unwrap();
            }
            bodies
        });
        (url, asked)
    }

    fn policies() -> Vec<RetryPolicyPlan> {
        let mut policies = RetryPolicyPlan::built_in();
        for policy in &mut policies {
            policy.initial_delay = Duration::from_millis(5);
            policy.max_delay = Duration::from_millis(5);
        }
        policies
    }

    const OPTIONS: HookOptions<'_> =
        HookOptions { timeout: Duration::from_secs(10), user: None, cgroup: None };

    #[test]
    fn a_server_that_is_busy_is_asked_again() {
        let (url, asked) = server(&[
            "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 429 Later\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 204 Done\r\nConnection: close\r\n\r\n",
        ]);
        let situation = Situation { incident: 9, ..Situation::default() };
        let done = post(&url, &OPTIONS, &policies(), &situation, &|_, _, _| {});
        assert_eq!(done.result, ActionResult::Done, "{}", done.message);
        let bodies = asked.join().unwrap();
        assert!(bodies.iter().all(|body| body.contains("\"incident\":9")), "{bodies:?}");
    }

    #[test]
    fn what_is_wrong_is_not_tried_again() {
        let (url, asked) =
            server(&["HTTP/1.1 400 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]);
        let failed = post(&url, &OPTIONS, &policies(), &Situation::default(), &|_, _, _| {});
        assert_eq!(failed.result, ActionResult::Failed);
        assert!(failed.message.contains("400") && failed.message.contains("tried 1 times"));
        assert_eq!(asked.join().unwrap().len(), 1);
    }

    /// The built-in policy waits for a minute, and the step has ten seconds.
    #[test]
    fn a_pause_that_does_not_fit_ends_it_at_once_and_a_retry_after_that_fits_is_kept() {
        let (url, asked) =
            server(&["HTTP/1.1 429 Later\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]);
        let (built_in, nobody) = (RetryPolicyPlan::built_in(), Situation::default());
        let failed = post(&url, &OPTIONS, &built_in, &nobody, &|_, _, _| {});
        assert_eq!(failed.result, ActionResult::Failed);
        assert!(failed.took < Duration::from_secs(5), "{:?}", failed.took);
        assert!(failed.message.contains("the next try would be in 60.0 s"), "{}", failed.message);
        assert_eq!(asked.join().unwrap().len(), 1);
        let (url, asked) = server(&[
            "HTTP/1.1 429 Later\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 204 Done\r\nConnection: close\r\n\r\n",
        ]);
        let told = std::cell::RefCell::new(Vec::new());
        let tell =
            |tried, failed: &str, pause| told.borrow_mut().push((tried, failed.to_owned(), pause));
        let done = post(&url, &OPTIONS, &built_in, &nobody, &tell);
        assert_eq!(done.result, ActionResult::Done, "{}", done.message);
        assert!(done.took >= Duration::from_secs(1), "{:?}", done.took);
        assert_eq!(asked.join().unwrap().len(), 2);
        let one = (1, "answered 429 Too Many Requests".to_owned(), Duration::from_secs(1));
        assert_eq!(told.into_inner(), [one]);
    }

    #[test]
    fn a_server_that_hangs_costs_the_timeout_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let options = HookOptions { timeout: Duration::from_millis(200), ..OPTIONS };
        let hung = post(&url, &options, &policies(), &Situation::default(), &|_, _, _| {});
        assert_eq!(hung.result, ActionResult::TimedOut);
        assert!(hung.took < Duration::from_secs(5));
    }
}
