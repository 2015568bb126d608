//! guard's kernel programs: entry points only. Each hook lives in a file of its own.
//!
//! Rules for every hook: it fails open (a missing map entry, an unknown service or an odd packet
//! passes and is counted), it never touches protected or accepted connections, and it does work
//! for a fault only while one is active.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![allow(internal_features, reason = "atomics of the BPF target exist as intrinsics only")]

mod answer;
mod atomics;
mod breaker;
mod classify;
mod connect;
mod creation;
mod emit;
mod fallback;
mod faults;
mod gate;
mod headers;
mod http;
mod hygiene;
mod limits;
mod maps;
mod nesting;
mod pacing;
mod packet;
mod plain;
mod pressure;
mod release;
mod socket;
mod sockops;

use aya_ebpf::macros::{cgroup_skb, cgroup_sock, cgroup_sock_addr, sock_ops, socket_filter};
use aya_ebpf::programs::{SkBuffContext, SockAddrContext, SockContext, SockOpsContext};

#[cgroup_sock_addr(connect4)]
fn guard_connect4(ctx: SockAddrContext) -> i32 {
    connect::connect(&ctx, connect::Family::V4)
}

#[cgroup_sock_addr(connect6)]
fn guard_connect6(ctx: SockAddrContext) -> i32 {
    connect::connect(&ctx, connect::Family::V6)
}

#[cgroup_sock_addr(sendmsg4)]
fn guard_sendmsg4(ctx: SockAddrContext) -> i32 {
    connect::sendmsg(&ctx, connect::Family::V4)
}

#[cgroup_sock_addr(sendmsg6)]
fn guard_sendmsg6(ctx: SockAddrContext) -> i32 {
    connect::sendmsg(&ctx, connect::Family::V6)
}

#[cgroup_sock_addr(getpeername4)]
fn guard_peername4(ctx: SockAddrContext) -> i32 {
    fallback::peer_name(&ctx, connect::Family::V4)
}

#[cgroup_sock_addr(getpeername6)]
fn guard_peername6(ctx: SockAddrContext) -> i32 {
    fallback::peer_name(&ctx, connect::Family::V6)
}

#[sock_ops]
fn guard_sockops(ctx: SockOpsContext) -> u32 {
    sockops::sockops(&ctx)
}

#[cgroup_skb(egress)]
fn guard_egress(ctx: SkBuffContext) -> i32 {
    packet::egress(&ctx)
}

#[cgroup_skb(ingress)]
fn guard_ingress(ctx: SkBuffContext) -> i32 {
    packet::ingress(&ctx)
}

#[cgroup_sock(sock_create)]
fn guard_socket(ctx: SockContext) -> i32 {
    creation::create(&ctx)
}

#[cgroup_sock(sock_release)]
fn guard_release(ctx: SockContext) -> i32 {
    release::release(&ctx)
}

/// The gate of paced calls.
#[socket_filter]
fn guard_pace(ctx: SkBuffContext) -> i64 {
    pacing::gate::gate(&ctx)
}

/// One gate program per NFQUEUE delay slot: a packet filter takes no argument, so that each slot
/// needs a program of its own.
macro_rules! gates {
    ($($name:ident = $slot:literal),+ $(,)?) => {$(
        #[socket_filter]
        fn $name(ctx: SkBuffContext) -> i64 {
            gate::gate(&ctx, $slot)
        }
    )+};
}
gates!(
    guard_gate_0 = 0,
    guard_gate_1 = 1,
    guard_gate_2 = 2,
    guard_gate_3 = 3,
    guard_gate_4 = 4,
    guard_gate_5 = 5,
    guard_gate_6 = 6,
    guard_gate_7 = 7,
    guard_gate_8 = 8,
    guard_gate_9 = 9,
    guard_gate_10 = 10,
    guard_gate_11 = 11,
    guard_gate_12 = 12,
    guard_gate_13 = 13,
    guard_gate_14 = 14,
    guard_gate_15 = 15,
);

/// Some helpers that guard needs are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never reached: the verifier refuses a program that could loop here, so a panic in the code is
/// found at load time, not in production.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
