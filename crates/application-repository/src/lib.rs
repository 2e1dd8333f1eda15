//! application-repository
