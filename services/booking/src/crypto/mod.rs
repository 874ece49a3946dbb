//! What is signed and hashed: the codes of tickets, and the tokens of door links. Computes, and calls no other program.

pub mod door_token;
pub mod ticket_keys;
