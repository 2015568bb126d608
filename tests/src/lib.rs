//! test-bed
