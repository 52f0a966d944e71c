//! Checks of one path: a client, the hops, the Service, a server.

pub mod budget;
pub mod idle_budget;

#[cfg(test)]
mod tests;
