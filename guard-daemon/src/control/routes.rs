//! Paths and methods, as in the table of [`api`](super::api). Nothing is decided here.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{Method, Response, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use axum::routing::{delete, get, post};
use axum::{Router, http};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::error;

use super::access::Role;
use super::api::{
    AgentRequest, BreakerRequest, BudgetRelease, CheckpointRequest, DrillRequest, ErrorBody,
    EventQuery, FaultRequest, HaltRequest, JoinRequest, RecoverRequest,
};
use super::extract::{Input, Params};
use super::handler::{Handler, JoinOrder};
use super::peer::Peer;
use super::reply::{Failure, json};
use super::{BODY_LIMIT_BYTES, follow};

type Reply = Result<Response<Body>, Failure>;

/// What every route gets.
struct App<H> {
    handler: Arc<H>,
    stop: watch::Receiver<bool>,
}

impl<H> Clone for App<H> {
    fn clone(&self) -> Self {
        Self { handler: Arc::clone(&self.handler), stop: self.stop.clone() }
    }
}

/// The routes; `stop` becoming true ends streams. Requests need a [`Peer`] as an extension.
pub(super) fn router<H: Handler>(handler: Arc<H>, stop: watch::Receiver<bool>) -> Router {
    Router::new()
        .route("/v1/status", get(status::<H>))
        .route("/v1/waits", get(waits::<H>))
        .route("/v1/doctor", get(doctor::<H>))
        .route("/v1/events", get(events::<H>))
        .route("/v1/faults", get(faults::<H>).post(inject::<H>).delete(clear_all::<H>))
        .route("/v1/faults/{id}", delete(clear::<H>))
        .route("/v1/footprint", get(footprint::<H>))
        .route("/v1/drills", get(drills::<H>).post(drill::<H>).delete(abort_drill::<H>))
        .route("/v1/agents", get(agents::<H>).post(change_agent::<H>))
        .route("/v1/checkpoints", post(checkpoints::<H>))
        .route("/v1/budgets", get(budgets::<H>).post(release_budgets::<H>))
        .route("/v1/breakers", get(breakers::<H>).post(change_breaker::<H>))
        .route("/v1/incidents", get(incidents::<H>))
        .route("/v1/recover", post(recover::<H>))
        .route("/v1/policies", get(policies::<H>))
        .route("/v1/halt", post(halt::<H>))
        .route("/v1/resume", post(resume::<H>))
        .route("/v1/reload", post(reload::<H>))
        .route("/v1/bulkheads/{name}/join", post(join::<H>))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(within_role))
        // Input has its own limit, with an answer that says so.
        .layer(axum::extract::DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .with_state(App { handler, stop })
}

/// Runs a method of the handler to its end, also when the client goes away; a panic in it is
/// an error of this one request.
async fn run<T: Send + 'static>(
    method: impl Future<Output = Result<T, ErrorBody>> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::spawn(method).await {
        Ok(result) => result.map_err(Failure::from),
        Err(failed) => {
            error!(error = %failed, "a control request did not come to its end");
            Err(Failure::new(
                http::StatusCode::INTERNAL_SERVER_ERROR,
                ErrorBody {
                    error: "guardd failed while it worked on this request: a bug".into(),
                    help: "see its log (journalctl -u guardd -n 50)".into(),
                    exit_code: 1,
                },
            ))
        }
    }
}

async fn answer<T: Serialize + Send + 'static>(
    method: impl Future<Output = Result<T, ErrorBody>> + Send + 'static,
) -> Reply {
    Ok(json(StatusCode::OK, &run(method).await?))
}

async fn status<H: Handler>(State(app): State<App<H>>) -> Reply {
    answer(async move { app.handler.status().await }).await
}

async fn waits<H: Handler>(State(app): State<App<H>>) -> Reply {
    answer(async move { app.handler.waits().await }).await
}

async fn doctor<H: Handler>(State(app): State<App<H>>) -> Reply {
    answer(async move { app.handler.doctor().await }).await
}

async fn events<H: Handler>(
    State(App { handler, stop }): State<App<H>>,
    Params(query): Params<EventQuery>,
) -> Reply {
    if !query.follow {
        return answer(async move { handler.events(query).await }).await;
    }
    let wanted = query.clone();
    let receiver = run(async move { handler.follow(wanted).await }).await?;
    Ok(follow::stream(move |event| query.matches(event), receiver, stop))
}

async fn faults<H: Handler>(State(app): State<App<H>>) -> Reply {
    answer(async move { app.handler.faults().await }).await
}

async fn inject<H: Handler>(
    State(app): State<App<H>>,
    Extension(peer): Extension<Peer>,
    Input(request): Input<FaultRequest>,
) -> Reply {
    answer(async move { app.handler.inject(peer, request).await }).await
}

async fn clear_all<H: Handler>(
    State(app): State<App<H>>,
    Extension(peer): Extension<Peer>,
) -> Reply {
    answer(async move { app.handler.clear(peer, None).await }).await
}

async fn clear<H: Handler>(
    State(app): State<App<H>>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
) -> Reply {
    let id: u64 = id.parse().map_err(|_| {
        let error = format!("{id:?} is not the id of a fault: a number from 1");
        Failure::bad(StatusCode::BAD_REQUEST, error, "guardctl fault list")
    })?;
    answer(async move { app.handler.clear(peer, Some(id)).await }).await
}

async fn footprint<H: Handler>(State(app): State<App<H>>) -> Reply {
    answer(async move { app.handler.footprint().await }).await
}

async fn drills<H: Handler>(State(app): State<App<H>>) -> Reply {
    answer(async move { app.handler.drills().await }).await
}

async fn drill<H: Handler>(
    State(App { handler, stop }): State<App<H>>,
    Extension(peer): Extension<Peer>,
    Params(DryRun { dry_run }): Params<DryRun>,
    Input(request): Input<DrillRequest>,
) -> Reply {
    if dry_run {
        return answer(async move { handler.plan_drill(request).await }).await;
    }
    let lines = run(async move { handler.begin_drill(peer, request).await }).await?;
    Ok(follow::stream(|_| true, lines, stop))
}

async fn abort_drill<H: Handler>(
    State(app): State<App<H>>,
    Extension(peer): Extension<Peer>,
) -> Reply {
    answer(async move { app.handler.abort_drill(peer).await }).await
}

async fn breakers<H: Handler>(State(app): State<App<H>>) -> Reply {
    answer(async move { app.handler.breakers().await }).await
}

async fn change_breaker<H: Handler>(
    State(app): State<App<H>>,
    Extension(peer): Extension<Peer>,
    Input(request): Input<BreakerRequest>,
) -> Reply {
    answer(async move { app.handler.change_breaker(peer, request).await }).await
}

async fn agents<H: Handler>(State(app): State<App<H>>) -> Reply {
    answer(async move { app.handler.agents().await }).await
}

async fn change_agent<H: Handler>(
    State(app): State<App<H>>,
    Extension(peer): Extension<Peer>,
    Input(request): Input<AgentRequest>,
) -> Reply {
    answer(async move { app.handler.change_agent(peer, request).await }).await
}

async fn checkpoints<H: Handler>(
    State(app): State<App<H>>,
    Extension(peer): Extension<Peer>,
    Input(request): Input<CheckpointRequest>,
) -> Reply {
    answer(async move { app.handler.checkpoints(peer, request).await }).await
}

async fn budgets<H: Handler>(State(app): State<App<H>>) -> Reply {
    answer(async move { app.handler.budgets().await }).await
}

async fn release_budgets<H: Handler>(
    State(app): State<App<H>>,
    Extension(peer): Extension<Peer>,
    Input(BudgetRelease { bulkhead }): Input<BudgetRelease>,
) -> Reply {
    answer(async move { app.handler.release_budgets(peer, bulkhead).await }).await
}

async fn incidents<H: Handler>(State(app): State<App<H>>) -> Reply {
    answer(async move { app.handler.incidents().await }).await
}

async fn recover<H: Handler>(
    State(app): State<App<H>>,
    Extension(peer): Extension<Peer>,
    Input(request): Input<RecoverRequest>,
) -> Reply {
    answer(async move { app.handler.recover(peer, request).await }).await
}

async fn policies<H: Handler>(State(app): State<App<H>>) -> Reply {
    answer(async move { app.handler.policies().await }).await
}

async fn halt<H: Handler>(
    State(app): State<App<H>>,
    Extension(peer): Extension<Peer>,
    Input(request): Input<HaltRequest>,
) -> Reply {
    if request.reason.trim().is_empty() {
        let help = "say why, so that others know when to resume";
        return Err(Failure::bad(StatusCode::BAD_REQUEST, "halt without a reason", help));
    }
    answer(async move { app.handler.halt(peer, request).await }).await
}

async fn resume<H: Handler>(State(app): State<App<H>>, Extension(peer): Extension<Peer>) -> Reply {
    answer(async move { app.handler.resume(peer).await }).await
}

/// Query of what can be tried without doing it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DryRun {
    #[serde(default)]
    dry_run: bool,
}

async fn reload<H: Handler>(
    State(app): State<App<H>>,
    Extension(peer): Extension<Peer>,
    Params(DryRun { dry_run }): Params<DryRun>,
) -> Reply {
    answer(async move { app.handler.reload(peer, dry_run).await }).await
}

async fn join<H: Handler>(
    State(app): State<App<H>>,
    Extension(peer): Extension<Peer>,
    Extension(role): Extension<Role>,
    Path(bulkhead): Path<String>,
    Input(JoinRequest { mut pids, sub, tree }): Input<JoinRequest>,
) -> Reply {
    if pids.contains(&0) {
        return Err(Failure::bad(StatusCode::BAD_REQUEST, "0 is not a process id", ""));
    }
    let itself = pids.is_empty();
    if itself {
        if !peer.is_alive() {
            let error = "the process that asks is not visible to guardd (another pid namespace, or it is gone)";
            let help = "name its pid, as guardd's host sees it: guardctl move BULKHEAD PID";
            return Err(Failure::bad(StatusCode::BAD_REQUEST, error, help));
        }
        pids.push(peer.pid);
    }
    let order = JoinOrder { pids, itself, sub, tree, owner_only: role == Role::Owner };
    answer(async move { app.handler.join(peer, bulkhead, order).await }).await
}

/// Owners of bulkheads may let processes join, and nothing else.
async fn within_role(
    Extension(role): Extension<Role>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let path = request.uri().path();
    if role == Role::Full || (path.starts_with("/v1/bulkheads/") && path.ends_with("/join")) {
        return next.run(request).await;
    }
    let error = format!(
        "uid {} may put its processes into the bulkheads that it owns, and nothing else; nothing \
         was done",
        peer.uid
    );
    let help = "use sudo, or ask for membership in group guard";
    Failure::bad(StatusCode::FORBIDDEN, error, help).into_response()
}

async fn unknown_path(method: Method, uri: Uri) -> Response<Body> {
    let error = format!("guardd knows no {method} {}", uri.path());
    let help = "guardctl and guardd must be of one version (guardctl version)";
    Failure::bad(StatusCode::NOT_FOUND, error, help).into_response()
}

async fn wrong_method(method: Method, uri: Uri) -> Response<Body> {
    let error = format!("{} does not take {method}", uri.path());
    let help = "guardctl and guardd must be of one version (guardctl version)";
    Failure::bad(StatusCode::METHOD_NOT_ALLOWED, error, help).into_response()
}
