//! guardd's own connection to a service. It is in no bulkhead: no breaker counts it and no fault of a
//! drill acts on it.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::retry::{Reason, TIME_MAX};
use super::service::Gateway;
use crate::plan::HygienePlan;

/// Longest wait for one connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects, and tries again as the policy of network errors says, until `deadline` and for 10 s at
/// most. Nothing was said on such a connection, so that this is right whatever is said next.
pub(super) async fn connect(
    gateway: &Gateway,
    to: SocketAddr,
    deadline: Instant,
) -> io::Result<TcpStream> {
    let deadline = deadline.min(Instant::now() + TIME_MAX);
    let mut attempt = 0;
    loop {
        let patience = CONNECT_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
        let connected = timeout(patience, TcpStream::connect(to)).await;
        let error = match connected {
            Ok(Ok(stream)) => {
                prepare(&stream, &gateway.options.hygiene)?;
                return Ok(stream);
            }
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        let Some(delay) = gateway.delay(Reason::Connect, attempt, None, deadline) else {
            return Err(error);
        };
        tracing::debug!(service = gateway.service, %to, %error, ?delay, "connects again");
        attempt += 1;
        sleep(delay).await;
    }
}

/// Connection hygiene, as the agent's own connection has it.
fn prepare(stream: &TcpStream, hygiene: &HygienePlan) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if !hygiene.on {
        return Ok(());
    }
    if !hygiene.keepalive.is_zero() {
        sockopt::set_tcp_keepidle(stream, hygiene.keepalive)?;
        sockopt::set_tcp_keepintvl(stream, hygiene.keepalive_interval)?;
        sockopt::set_tcp_keepcnt(stream, hygiene.keepalive_probes)?;
        sockopt::set_socket_keepalive(stream, true)?;
    }
    let unacknowledged_ms = u32::try_from(hygiene.user_timeout.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(stream, unacknowledged_ms)?)
}
