//! binary-repository
