//! The gateway over real sockets: a server whose every connection follows a script, and clients that
//! say what they like.

mod calls;
mod limits;
mod raw;
mod stale;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener as PlainListener, TcpStream as Plain};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::limits::BULKHEAD_CONNECTIONS_MAX as PLACES;
use super::*;
use crate::plan::{GatewayPlan, HygienePlan, Protocol, RetryBudgetPlan, RetryPolicyPlan};

const LIMIT: Duration = Duration::from_secs(10);

/// A request, as the server got it.
#[derive(Clone, Debug, Default)]
struct Got {
    head: String,
    body: String,
}

/// One connection, from the server's side.
struct Script {
    stream: BufReader<Plain>,
    /// Of the connection, from 0.
    number: usize,
    seen: Arc<Mutex<Vec<Got>>>,
}

impl Script {
    /// The next request; `None` = the other end has closed.
    fn read(&mut self) -> Option<Got> {
        let mut got = Got::default();
        loop {
            let before = got.head.len();
            if self.stream.read_line(&mut got.head).ok()? == 0 {
                return None;
            }
            if got.head[before..] == *"\r\n" {
                break;
            }
        }
        let length = got.head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse().ok())?
        });
        let mut body = vec![0; length.unwrap_or(0)];
        self.stream.read_exact(&mut body).ok()?;
        got.body = String::from_utf8(body).unwrap();
        self.seen.lock().unwrap().push(got.clone());
        Some(got)
    }

    fn say(&mut self, text: &str) {
        // The other end may be gone.
        drop(self.stream.get_mut().write_all(text.as_bytes()));
    }

    fn answer(&mut self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        self.say(&format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"));
    }

    /// Ends with a reset.
    fn reset(self) {
        reset_at_the_end(self.stream.get_ref());
    }
}

/// Closing it is a reset.
fn reset_at_the_end(stream: &Plain) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

/// A server whose connections follow a script, one thread each.
struct Server {
    at: SocketAddr,
    seen: Arc<Mutex<Vec<Got>>>,
    connections: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
}

impl Server {
    fn start(script: impl Fn(Script) + Send + Sync + 'static) -> Self {
        Self::start_on(PlainListener::bind("127.0.0.1:0").unwrap(), script)
    }

    fn start_on(listener: PlainListener, script: impl Fn(Script) + Send + Sync + 'static) -> Self {
        let server = Self {
            at: listener.local_addr().unwrap(),
            seen: Arc::default(),
            connections: Arc::default(),
            stop: Arc::default(),
        };
        let (seen, connections) = (Arc::clone(&server.seen), Arc::clone(&server.connections));
        let (stop, script) = (Arc::clone(&server.stop), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                stream.set_read_timeout(Some(LIMIT)).unwrap();
                let number = connections.fetch_add(1, Ordering::SeqCst) as usize;
                let stream = BufReader::new(stream);
                let script = Arc::clone(&script);
                let scripted = Script { stream, number, seen: Arc::clone(&seen) };
                thread::spawn(move || script(scripted));
            }
        });
        server
    }

    /// Answers the requests of all connections one after the other, the last one for ever.
    fn answering(answers: &'static [(&'static str, &'static str, &'static str)]) -> Self {
        let next = AtomicU32::new(0);
        Self::start(move |mut script| {
            while script.read().is_some() {
                let number = next.fetch_add(1, Ordering::SeqCst) as usize;
                let (status, headers, body) = answers[number.min(answers.len() - 1)];
                script.answer(status, headers, body);
            }
        })
    }

    fn heads(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|got| got.head.clone()).collect()
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Nobody listens there any more.
    fn close(&self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(Plain::connect(self.at));
        let until = Instant::now() + LIMIT;
        while Plain::connect(self.at).is_ok() {
            assert!(Instant::now() < until);
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(Plain::connect(self.at));
    }
}

/// A gateway in front of a server.
struct Running {
    at: SocketAddr,
    counters: Arc<Counters>,
    refused: Arc<AtomicBool>,
    bulkhead: Arc<AtomicU32>,
    stop: watch::Sender<Stop>,
    task: Option<tokio::task::JoinHandle<()>>,
    runtime: tokio::runtime::Runtime,
}

fn policy(name: &str, delay_ms: u64) -> RetryPolicyPlan {
    let built_in = RetryPolicyPlan::built_in();
    let found = built_in.into_iter().find(|policy| policy.name == name).unwrap();
    let delay = Duration::from_millis(delay_ms);
    RetryPolicyPlan { initial_delay: delay, jitter: false, ..found }
}

fn options() -> Options {
    Options {
        protocol: Protocol::Auto,
        plan: GatewayPlan { stale_if_error: None, cache_bytes_max: 1 << 20 },
        policies: Policies {
            network_error: policy("network_error", 20),
            rate_limit: policy("rate_limit_429", 60_000),
        },
        budget: RetryBudgetPlan { share: 0.2, min_per_second: 0.5 },
        hygiene: HygienePlan::default(),
    }
}

fn keeping() -> Options {
    let plan = GatewayPlan { stale_if_error: Some(LIMIT), cache_bytes_max: 1 << 20 };
    Options { plan, ..options() }
}

fn gateway(destination: SocketAddr, options: Options) -> Running {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (refused, bulkhead) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(1)));
    let (of_refused, of_bulkhead) = (Arc::clone(&refused), Arc::clone(&bulkhead));
    let lookup = move |_| {
        let bulkhead = of_bulkhead.load(Ordering::SeqCst);
        let refused = of_refused.load(Ordering::SeqCst);
        (bulkhead != 0).then_some(Asked { destination, bulkhead, service: 2, refused })
    };
    let counters: Arc<Counters> = Arc::default();
    let shared = Arc::clone(&counters);
    let gateway = Gateway::new("docs".to_owned(), options, Arc::new(lookup), shared);
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let at = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(Stop::No);
    let task = Some(runtime.spawn(serve(listener, Arc::new(gateway), stopped)));
    Running { at, counters, refused, bulkhead, stop, task, runtime }
}

fn connect(at: SocketAddr) -> Plain {
    let client = Plain::connect(at).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client
}

/// All that comes back for these bytes, until the other end closes; an error if that is no clean end.
fn exchange(at: SocketAddr, bytes: &str) -> std::io::Result<String> {
    let mut client = connect(at);
    client.write_all(bytes.as_bytes())?;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A request without a body, as the last of its connection.
fn ask(at: SocketAddr, line: &str, headers: &str) -> std::io::Result<String> {
    exchange(at, &format!("{line} HTTP/1.1\r\nHost: docs\r\nConnection: close\r\n{headers}\r\n"))
}

fn is_reset(result: &std::io::Result<String>) -> bool {
    matches!(result, Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset)
}
