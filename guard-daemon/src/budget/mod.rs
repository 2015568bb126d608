//! Budgets: what a bulkhead has used up of bytes, calls and connects in a period, and whether that is
//! too much. Pure accounting, and the file that outlives guardd; whoever asks acts on the answer.
//!
//! Data: the hooks' counters, looked at every half second → used in this period → warned, used up,
//! a new period. It never counts what guard itself has rejected.

mod account;
mod memory;

pub use account::{Account, Amount, Amounts, Change};
pub use memory::{Memory, Remembered};
