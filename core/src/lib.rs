//! The pure core of evenkeel.
