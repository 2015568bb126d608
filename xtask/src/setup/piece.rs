//! One thing that must be there.

use anyhow::Result;

/// One thing that must be there, how to see that it is, and how to get it.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    /// Short name for the listing.
    pub(crate) name: &'static str,
    /// Looks only, without apt or network; fast.
    pub(crate) check: fn() -> State,
    /// Gets it; the argument says whether apt may be called.
    pub(crate) install: fn(bool) -> Result<()>,
}

/// Whether a piece is there.
pub(crate) enum State {
    /// It is; what was found.
    Ok(String),
    /// It is not; what exactly.
    Missing(String),
}

impl From<Result<String, String>> for State {
    fn from(found: Result<String, String>) -> Self {
        match found {
            Ok(found) => Self::Ok(found),
            Err(missing) => Self::Missing(missing),
        }
    }
}
