//! What a step claims: what was asked for, what was measured, and whether they agree. A claim is
//! made of measured numbers only.

use anyhow::Error;

/// One line of the closing table.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// What was asked for.
    pub(crate) asked: String,
    /// What was measured.
    pub(crate) measured: String,
    /// Whether that is what was asked for.
    pub(crate) holds: bool,
}

/// A step with its claims.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Number and name.
    pub(crate) title: String,
    /// In the order in which they were made.
    pub(crate) claims: Vec<Claim>,
}

/// A claim.
pub(crate) fn claim(holds: bool, asked: impl Into<String>, measured: impl Into<String>) -> Claim {
    Claim { asked: asked.into(), measured: measured.into(), holds }
}

/// The claim of a step that could not be carried out.
pub(crate) fn broken(title: &str, error: &Error) -> Claim {
    claim(false, title, format!("{error:#}"))
}
