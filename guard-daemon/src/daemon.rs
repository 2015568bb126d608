//! Runtime: ties everything together.
