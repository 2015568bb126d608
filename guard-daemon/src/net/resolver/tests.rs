//! Against a small name server on a loopback port, and hosts files of the tests' own. No other
//! server is ever asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::*;

/// What the server does.
#[derive(Clone, Debug)]
struct Zone {
    /// Name with final dot → its addresses.
    names: BTreeMap<String, Vec<IpAddr>>,
    ttl_seconds: u32,
    /// Instead of an answer.
    broken: Option<Broken>,
    /// Only AAAA queries fail.
    v6_broken: bool,
    queries: u32,
}

/// How a server fails.
#[derive(Clone, Copy, Debug)]
enum Broken {
    Silent,
    Says(ResponseCode),
}

struct Server {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    dir: tempfile::TempDir,
}

impl Server {
    async fn start(names: &[(&str, &[&str])], ttl_seconds: u32) -> Self {
        let zone =
            Zone { names: parse(names), ttl_seconds, broken: None, v6_broken: false, queries: 0 };
        let zone = Arc::new(Mutex::new(zone));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(serve(socket, Arc::clone(&zone)));
        Self { address, zone, dir: tempfile::tempdir().unwrap() }
    }

    fn hosts(&self, text: &str) {
        std::fs::write(self.dir.path().join("hosts"), text).unwrap();
    }

    fn resolver(&self) -> Resolver {
        let timeout = Duration::from_millis(300);
        Resolver::with_name_servers(vec![self.address], timeout, self.dir.path().join("hosts"))
    }

    fn change(&self, change: impl FnOnce(&mut Zone)) {
        change(&mut self.zone.lock().unwrap());
    }

    fn queries(&self) -> u32 {
        self.zone.lock().unwrap().queries
    }
}

fn parse(names: &[(&str, &[&str])]) -> BTreeMap<String, Vec<IpAddr>> {
    names.iter().map(|(name, list)| (format!("{name}."), addresses(list))).collect()
}

fn addresses(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|a| a.parse().unwrap()).collect()
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = [0; 1500];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        let query = Message::from_vec(&buffer[..length]).unwrap();
        if let Some(answer) = answer(&query, &mut zone.lock().unwrap()) {
            let bytes = answer.to_vec().unwrap();
            assert!(socket.try_send_to(&bytes, client).is_ok());
        }
    }
}

fn answer(query: &Message, zone: &mut Zone) -> Option<Message> {
    zone.queries += 1;
    let question = query.queries.first().unwrap().clone();
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.add_query(question.clone());
    let v6 = question.query_type() == RecordType::AAAA;
    match zone.broken {
        Some(Broken::Silent) => return None,
        Some(Broken::Says(code)) => {
            answer.metadata.response_code = code;
            return Some(answer);
        }
        None => {}
    }
    if v6 && zone.v6_broken {
        answer.metadata.response_code = ResponseCode::ServFail;
        return Some(answer);
    }
    let name = question.name().to_lowercase();
    match zone.names.get(&name.to_string()) {
        None => answer.metadata.response_code = ResponseCode::NXDomain,
        Some(known) => {
            let family = known.iter().filter(|a| a.is_ipv6() == v6);
            answer.add_answers(
                family.map(|a| Record::from_rdata(name.clone(), zone.ttl_seconds, RData::from(*a))),
            );
        }
    }
    Some(answer)
}

async fn next(receiver: &mut Receiver<Update>) -> Update {
    timeout(Duration::from_secs(5), receiver.recv()).await.expect("news in time").expect("a sender")
}

/// Seconds from now.
fn ttl(answer: &Answer) -> f64 {
    answer.valid_until.saturating_duration_since(Instant::now()).as_secs_f64()
}

#[tokio::test]
async fn both_families_and_the_ttl_come_from_the_server() {
    let server = Server::start(&[("two.test", &["::7", "127.0.0.9", "127.0.0.8"])], 30).await;
    let answer = server.resolver().resolve("Two.test").await.unwrap();
    assert_eq!(answer.addresses, addresses(&["127.0.0.8", "127.0.0.9", "::7"]));
    assert!((29.0..=30.0).contains(&ttl(&answer)), "{answer:?}");
    assert_eq!(answer.incomplete, None);
    for (sent, believed) in [(0, 1.0), (86_400, 3600.0)] {
        server.change(|zone| zone.ttl_seconds = sent);
        let answer = server.resolver().resolve("two.test").await.unwrap();
        assert!((believed - 0.5..=believed).contains(&ttl(&answer)), "{sent}: {answer:?}");
    }
}

#[tokio::test]
async fn the_hosts_file_comes_first_and_is_read_again() {
    let server = Server::start(&[("a.test", &["127.0.0.9"])], 30).await;
    let resolver = server.resolver();
    assert_eq!(resolver.resolve("a.test").await.unwrap().addresses, addresses(&["127.0.0.9"]));
    server.hosts("127.0.0.3 A.test b.test # comment\n127.0.0.4 a.test\n::5 b.test\n");
    let before = server.queries();
    let answer = resolver.resolve("a.test").await.unwrap();
    assert_eq!(answer.addresses, addresses(&["127.0.0.3", "127.0.0.4"]));
    assert!((59.0..=60.0).contains(&ttl(&answer)));
    let answer = resolver.resolve("B.Test").await.unwrap();
    assert_eq!(answer.addresses, addresses(&["127.0.0.3", "::5"]));
    assert_eq!(server.queries(), before, "no server was asked");
    let own = resolver.resolve("localhost").await.unwrap();
    assert_eq!(own.addresses, addresses(&["127.0.0.1", "::1"]));
    let literal = resolver.resolve("::1").await.unwrap();
    assert_eq!(literal.addresses, addresses(&["::1"]));
    assert_eq!(server.queries(), before);
}

#[tokio::test]
async fn failures_say_what_is_wrong() {
    let server = Server::start(&[("empty.test", &[])], 30).await;
    let resolver = server.resolver();
    let error = async |name: &str| resolver.resolve(name).await.unwrap_err();
    let missing = error("missing.test").await;
    assert!(matches!(missing, ResolveError::NotFound { .. }), "{missing}");
    assert!(missing.to_string().contains("`missing.test`: the name does not exist"), "{missing}");
    assert!(error("empty.test").await.to_string().contains("has no address"));
    assert!(matches!(error("a..b").await, ResolveError::BadName { .. }));

    server.change(|zone| zone.broken = Some(Broken::Says(ResponseCode::ServFail)));
    let failed = error("empty.test").await.to_string();
    assert!(failed.contains("Server Failure") || failed.contains("SERVFAIL"), "{failed}");
    assert!(failed.contains(&server.address.to_string()), "{failed}");
    server.change(|zone| zone.broken = Some(Broken::Silent));
    let started = Instant::now();
    let silent = error("empty.test").await;
    assert!(matches!(silent, ResolveError::Failed { .. }), "{silent}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn one_broken_family_is_said_and_does_not_hide_the_other() {
    let server = Server::start(&[("a.test", &["127.0.0.9", "::7"])], 30).await;
    server.change(|zone| zone.v6_broken = true);
    let answer = server.resolver().resolve("a.test").await.unwrap();
    assert_eq!(answer.addresses, addresses(&["127.0.0.9"]));
    assert!(answer.incomplete.is_some_and(|why| why.contains("IPv6")));
}

#[tokio::test]
async fn the_tracker_tells_changes_and_keeps_what_it_knew() {
    let server = Server::start(&[("a.test", &["127.0.0.9"])], 1).await;
    let resolver = Arc::new(server.resolver());
    let (mut tracker, mut news) = Tracker::start(resolver, ["a.test".to_owned()]);
    let now_at =
        |list: &[&str]| Update::Addresses { name: "a.test".to_owned(), addresses: addresses(list) };
    assert_eq!(next(&mut news).await, now_at(&["127.0.0.9"]));
    let first = Instant::now();
    server.change(|zone| zone.names = parse(&[("a.test", &["127.0.0.10", "::7"])]));
    assert_eq!(next(&mut news).await, now_at(&["127.0.0.10", "::7"]));
    let after = first.elapsed().as_secs_f64();
    assert!((0.7..1.5).contains(&after), "asked again at 90 % of 1 s, not {after}");

    server.change(|zone| zone.broken = Some(Broken::Says(ResponseCode::ServFail)));
    match next(&mut news).await {
        Update::Failing { name, kept: 2, next_try, .. } => {
            assert_eq!((name.as_str(), next_try), ("a.test", Duration::from_secs(1)));
        }
        other => panic!("{other:?}"),
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(news.try_recv().is_err(), "not told again within the minute");
    server.change(|zone| zone.broken = None);
    assert_eq!(next(&mut news).await, Update::Recovered { name: "a.test".to_owned() });

    // A reload: one name stays, one comes, and a name that goes is not asked for again.
    server.hosts("127.0.0.44 b.test\n");
    tracker.set_names(["a.test", "b.test"].map(str::to_owned));
    assert!(matches!(next(&mut news).await, Update::Addresses { name, .. } if name == "b.test"));
    tracker.set_names(["b.test".to_owned()]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = server.queries();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(server.queries(), before);
}

#[tokio::test]
async fn resolv_conf_is_read_again_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("resolv.conf");
    let source = Source::of_files(dir.path().join("hosts"), path.clone());
    let error = source.dns().err().unwrap();
    assert!(error.contains("resolv.conf"), "{error}");
    std::fs::write(&path, "search one.test\nnameserver 127.0.0.1\n").unwrap();
    let domains = |dns: &Dns| dns.search.iter().map(ToString::to_string).collect::<Vec<_>>();
    let first = source.dns().unwrap();
    assert_eq!(domains(&first), ["one.test"]);
    assert!(Arc::ptr_eq(&first, &source.dns().unwrap()), "not read without need");
    std::fs::write(&path, "search one.test two.test\nnameserver 127.0.0.1\noptions ndots:2\n")
        .unwrap();
    let second = source.dns().unwrap();
    assert_eq!(domains(&second), ["one.test", "two.test"]);

    let tried = |name: &str| {
        candidates(&Name::from_utf8(name).unwrap(), &second)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(tried("a.b"), ["a.b.one.test.", "a.b.two.test.", "a.b."]);
    assert_eq!(tried("a.b.c"), ["a.b.c.", "a.b.c.one.test.", "a.b.c.two.test."]);
    assert_eq!(tried("a.b."), ["a.b."]);
    assert_eq!(tried("localhost"), ["localhost."]);
}
