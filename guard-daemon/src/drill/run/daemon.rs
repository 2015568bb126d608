//! What a drill needs of guardd and of whoever watches. guardctl implements both.

use super::super::record::{Moment, Sample};
use super::super::spec::Phase;
use crate::control::api::{
    Breakers, ErrorBody, FaultRecord, FaultRequest, Faults, Footprint, Status,
};

/// A guardd that can be asked. Every error means that it cannot be any more, or says no.
pub trait Daemon {
    /// `GET /v1/status`.
    fn status(&self) -> impl Future<Output = Result<Status, ErrorBody>>;
    /// `GET /v1/breakers`.
    fn breakers(&self) -> impl Future<Output = Result<Breakers, ErrorBody>>;
    /// `GET /v1/faults`.
    fn faults(&self) -> impl Future<Output = Result<Faults, ErrorBody>>;
    /// `POST /v1/faults`.
    fn inject(&self, fault: &FaultRequest) -> impl Future<Output = Result<FaultRecord, ErrorBody>>;
    /// `GET /v1/footprint`.
    fn footprint(&self) -> impl Future<Output = Result<Footprint, ErrorBody>>;
}

/// Sees a drill go on.
pub trait Watcher {
    /// Something happened.
    fn moment(&mut self, moment: &Moment);
    /// A second has passed.
    fn progress(&mut self, progress: &Progress<'_>);
}

/// Where a drill is.
#[derive(Debug)]
pub struct Progress<'a> {
    /// The phase.
    pub phase: Phase,
    /// Since it began, seconds.
    pub phase_seconds: f64,
    /// How long it lasts at most, seconds.
    pub phase_limit_seconds: f64,
    /// Numbers since the progress before.
    pub sample: &'a Sample,
    /// The drill's faults now.
    pub faults: &'a [FaultRecord],
}
