//! What the fast decoder answers is right, and it does answer for what is usual.
