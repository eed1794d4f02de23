// SPDX-License-Identifier: Apache-2.0
//
// The monitor for aarch64: what monitor.x86_64.S does, call by call. Descriptors, messages and limits:
// README.md. All it remembers is on its stack, in one frame:
//
//   x29  the frame, from _start to the end      x19-x22  the engine's
//   x24  requests: size of the mapped program, 0 when none; reaping: number of exits in this round
//
// A system call changes x0 alone, so what is in another register is there after it.

	.equ	ELF_MACHINE, 183		// EM_AARCH64
	.equ	LARGEST_PAGE, 0x10000
	.include "elf.S"
	.include "engine.aarch64.S"

	.equ	SOCKET, 3
	.equ	JOURNAL, 4
	.equ	SIGNALS, 5
	.equ	DOORBELL, 6
	.equ	FIRST_PASSED, 100		// descriptors of a request get the numbers from here on
	.equ	LAST_PASSED, 255
	.equ	PROGRAM_FD, FIRST_PASSED
	.equ	REPLY_FD, FIRST_PASSED + 1
	.equ	PROGRAM_ADDRESS, 0x10000000
	.equ	PROGRAM_LIMIT, 4 << 20

	.equ	SYS_dup3, 24
	.equ	SYS_fcntl, 25
	.equ	SYS_read, 63
	.equ	SYS_write, 64
	.equ	SYS_ppoll, 73
	.equ	SYS_signalfd4, 74
	.equ	SYS_fstat, 80
	.equ	SYS_nanosleep, 101
	.equ	SYS_clock_gettime, 113
	.equ	SYS_rt_sigaction, 134
	.equ	SYS_rt_sigprocmask, 135
	.equ	SYS_prctl, 167
	.equ	SYS_recvmsg, 212
	.equ	SYS_munmap, 215
	.equ	SYS_mmap, 222
	.equ	SYS_wait4, 260
	.equ	SYS_close_range, 436

	.equ	O_CLOEXEC, 0x80000
	.equ	SFD_NONBLOCK_CLOEXEC, 0x80800
	.equ	F_SETFD, 2
	.equ	FD_CLOEXEC, 1
	.equ	SIG_SETMASK, 2
	.equ	SIGTERM, 15
	.equ	AWAITED, 1 << (SIGTERM - 1) | 1 << 16	// and SIGCHLD
	.equ	LAST_SIGNAL, 64
	.equ	POLLIN, 1
	.equ	POLLHUP_POLLNVAL, 0x30
	.equ	PR_SET_DUMPABLE, 4
	.equ	PR_SET_NAME, 15
	.equ	WNOHANG_WALL, 0x40000001
	.equ	MSG_TRUNC_CTRUNC, 0x28
	.equ	MSG_DONTWAIT_CMSG_CLOEXEC, 0x40000040
	.equ	SOL_SOCKET, 1
	.equ	SCM_RIGHTS, 1
	.equ	PROT_READ_WRITE, 3
	.equ	MAP_PRIVATE_FIXED_NOREPLACE, 0x100002
	.equ	STAT_SIZE, 48
	.equ	ECHILD, 10
	.equ	ENOMEM, 12
	.equ	EINVAL, 22
	.equ	ENOSPC, 28
	.equ	EDQUOT, 122
	.equ	RETRY_NS, 100000000

	// The frame.
	.equ	POLL_SOCKET, 0			// struct pollfd: i32 fd, i16 events, i16 revents
	.equ	POLL_SIGNALS, 8
	.equ	REVENTS, 6
	.equ	RECORD, 16			// u64 tag, i64 pid, i64 status, i64 sec, i64 nsec
	.equ	RECORD_PID, RECORD + 8
	.equ	RECORD_STATUS, RECORD + 16
	.equ	RECORD_TIME, RECORD + 24
	.equ	RECORD_SIZE, 40
	.equ	REQUEST, 56			// u64 program size, u64 table address
	.equ	REQUEST_TABLE, REQUEST + 8
	.equ	REQUEST_SIZE, 16
	.equ	IOVEC, 72			// void *base, u64 length
	.equ	MESSAGE, 88			// struct msghdr
	.equ	MESSAGE_IOV, MESSAGE + 16	// and the number of them
	.equ	MESSAGE_CONTROL, MESSAGE + 32
	.equ	MESSAGE_CONTROLLEN, MESSAGE + 40
	.equ	MESSAGE_FLAGS, MESSAGE + 48
	.equ	CONTROL, 144			// struct cmsghdr and 90 descriptors; also scratch
	.equ	CONTROL_LEVEL, CONTROL + 8
	.equ	CONTROL_TYPE, CONTROL + 12
	.equ	CONTROL_FDS, CONTROL + 16
	.equ	CONTROL_SIZE, 16 + 90 * 4
	.equ	ENDING, CONTROL + CONTROL_SIZE	// u64, not 0 once SIGTERM has come
	.equ	FRAME_SIZE, ENDING + 8		// a multiple of 16, as a stack pointer has to be

	.macro	sys	number
	mov	x8, \number
	svc	0
	.endm

	.macro	load	register, value
	movz	\register, (\value) & 0xffff
	movk	\register, (\value) >> 16, lsl 16
	.endm

_start:
	mov	x0, sp
	sub	sp, sp, FRAME_SIZE
	mov	x29, sp
1:	stp	xzr, xzr, [x0, -16]!
	cmp	x0, x29
	b.ne	1b

	// Everything blocked before SIGCHLD counts for anything, every inherited disposition undone: an
	// ignored SIGCHLD would make the kernel reap the children unseen.
	mov	x9, -1
	str	x9, [x29, REQUEST]
	mov	w0, SIG_SETMASK
	add	x1, x29, REQUEST
	mov	x2, 0
	mov	x3, 8
	sys	SYS_rt_sigprocmask
	mov	w19, LAST_SIGNAL
1:	mov	w0, w19
	add	x1, x29, CONTROL		// zeros: SIG_DFL, no flags
	mov	x2, 0
	mov	x3, 8
	sys	SYS_rt_sigaction
	subs	w19, w19, 1
	b.ne	1b

	mov	w0, PR_SET_NAME
	adr	x1, name
	sys	SYS_prctl
	mov	w0, PR_SET_DUMPABLE
	mov	x1, 0
	sys	SYS_prctl
	mov	w0, SOCKET
	bl	close_on_exec
	mov	w0, JOURNAL
	bl	close_on_exec
	mov	w0, DOORBELL
	bl	close_on_exec

	load	x9, AWAITED
	str	x9, [x29, REQUEST]
	mov	w0, -1
	add	x1, x29, REQUEST
	mov	x2, 8
	load	w3, SFD_NONBLOCK_CLOEXEC
	sys	SYS_signalfd4
	cmp	w0, SIGNALS
	b.eq	1f
	mov	w1, SIGNALS
	bl	move_fd
1:	mov	w9, SOCKET
	mov	w10, POLLIN
	stp	w9, w10, [x29, POLL_SOCKET]
	mov	w9, SIGNALS
	stp	w9, w10, [x29, POLL_SIGNALS]

wait:
	add	x0, x29, POLL_SOCKET
	mov	x1, 2
	mov	x2, 0
	mov	x3, 0
	sys	SYS_ppoll
	cmp	w0, 0
	b.le	wait
	ldrh	w9, [x29, POLL_SIGNALS + REVENTS]
	cbz	w9, request

	// Children have ended, or are to. The signal is taken first: a child that ends from here on raises it again.
	mov	w0, SIGNALS
	add	x1, x29, CONTROL		// struct signalfd_siginfo: u32 number first
	mov	x2, 128
	sys	SYS_read
	ldr	w9, [x29, CONTROL]
	cmp	w9, SIGTERM
	b.ne	1f
	str	x9, [x29, ENDING]
1:	mov	w24, 0
reap:
	mov	w0, -1
	add	x1, x29, RECORD_STATUS
	load	w2, WNOHANG_WALL
	mov	x3, 0
	sys	SYS_wait4
	cmp	w0, 0
	b.le	reaped
	str	x0, [x29, RECORD_PID]
	mov	w0, 0				// CLOCK_REALTIME
	add	x1, x29, RECORD_TIME
	sys	SYS_clock_gettime
	add	x1, x29, RECORD
	mov	x2, RECORD_SIZE
write_record:
	mov	w0, JOURNAL
	sys	SYS_write
	tbnz	x0, 63, 1f
	add	x1, x1, x0
	subs	x2, x2, x0
	b.ne	write_record
2:	add	w24, w24, 1
	b	reap
1:	// A full file system is waited out, since the record is the only trace of an exit.
	cmn	w0, ENOSPC
	b.eq	1f
	cmn	w0, ENOMEM
	b.eq	1f
	cmn	w0, EDQUOT
	b.ne	2b
1:	mov	x9, x1
	load	x10, RETRY_NS
	stp	xzr, x10, [x29, CONTROL]	// struct timespec
	add	x0, x29, CONTROL
	mov	x1, 0
	sys	SYS_nanosleep
	mov	x1, x9
	b	write_record
reaped:
	mov	w19, w0
	cbz	w24, 1f
	mov	w0, DOORBELL
	add	x1, x29, RECORD
	mov	x2, 1
	sys	SYS_write
	// Who ends everything, as a machine that is shut down, is not kept waiting by a monitor of nothing.
1:	ldr	x9, [x29, ENDING]
	cbz	x9, request
	cmn	w19, ECHILD
	b.ne	request
	mov	w0, 0
	sys	SYS_exit_group

request:
	ldrh	w9, [x29, POLL_SOCKET + REVENTS]
	cbz	w9, wait
	tst	w9, POLLHUP_POLLNVAL
	b.eq	1f
	// Somebody shut the socket down: no more requests, but reaping goes on without a busy loop.
	mov	w9, -1
	str	w9, [x29, POLL_SOCKET]
	b	wait
1:
	add	x9, x29, REQUEST
	mov	x10, REQUEST_SIZE
	stp	x9, x10, [x29, IOVEC]
	add	x9, x29, IOVEC
	mov	x10, 1
	stp	x9, x10, [x29, MESSAGE_IOV]
	add	x9, x29, CONTROL
	mov	x10, CONTROL_SIZE
	stp	x9, x10, [x29, MESSAGE_CONTROL]
	mov	w0, SOCKET
	add	x1, x29, MESSAGE
	load	w2, MSG_DONTWAIT_CMSG_CLOEXEC
	sys	SYS_recvmsg
	tbnz	x0, 63, wait

	// x19 = number of descriptors received
	mov	x19, 0
	ldr	x9, [x29, MESSAGE_CONTROLLEN]
	cmp	x9, 16
	b.ls	1f
	ldr	w9, [x29, CONTROL_LEVEL]
	cmp	w9, SOL_SOCKET
	b.ne	1f
	ldr	w9, [x29, CONTROL_TYPE]
	cmp	w9, SCM_RIGHTS
	b.ne	1f
	ldr	x19, [x29, CONTROL]
	sub	x19, x19, 16
	lsr	x19, x19, 2
1:
	cmp	x0, REQUEST_SIZE
	b.ne	malformed
	ldrb	w9, [x29, MESSAGE_FLAGS]
	mov	w10, MSG_TRUNC_CTRUNC
	tst	w9, w10
	b.ne	malformed
	cmp	w19, 2
	b.lo	malformed
	add	x10, x29, CONTROL_FDS
	mov	w20, 0
1:	ldr	w9, [x10, x20, lsl 2]
	cmp	w9, FIRST_PASSED
	b.hs	malformed
	add	w20, w20, 1
	cmp	w20, w19
	b.lo	1b

	mov	w20, 0
1:	ldr	w0, [x10, x20, lsl 2]
	add	w1, w20, FIRST_PASSED
	bl	move_fd
	add	w20, w20, 1
	cmp	w20, w19
	b.lo	1b

	// The size is checked against the file's: touching a mapping behind its end would be fatal.
	ldr	x24, [x29, REQUEST]
	mov	w0, PROGRAM_FD
	add	x1, x29, CONTROL
	sys	SYS_fstat
	tbnz	x0, 63, refused
	mov	x0, -EINVAL
	sub	x9, x24, 1
	mov	x10, PROGRAM_LIMIT
	cmp	x9, x10
	b.hs	refused
	ldr	x9, [x29, CONTROL + STAT_SIZE]
	cmp	x9, x24
	b.lo	refused
	ldr	x19, [x29, REQUEST_TABLE]
	mov	x10, PROGRAM_ADDRESS
	sub	x9, x19, x10
	cmp	x9, x24
	b.hs	refused
	mov	x0, x10
	mov	x1, x24
	mov	w2, PROT_READ_WRITE
	load	w3, MAP_PRIVATE_FIXED_NOREPLACE
	mov	w4, PROGRAM_FD
	mov	x5, 0
	sys	SYS_mmap
	tbnz	x0, 63, refused
	mov	w21, 0
	adr	x22, finished
	b	engine
refused:
	mov	x24, 0				// nothing of ours is mapped
	mov	w21, 0
	mov	w20, -1
finished:
	mov	w9, REPLY_FD
	bl	reply
	cbnz	w21, 1f
	mov	x0, PROGRAM_ADDRESS
	mov	x1, x24
	sys	SYS_munmap
	mov	w0, FIRST_PASSED
	mov	w1, LAST_PASSED
	mov	w2, 0
	sys	SYS_close_range
	b	wait
1:	mov	w0, EXIT_NOT_STARTED		// a child that did not exec
	sys	SYS_exit_group

	// A request that cannot be taken: an answer where there is somebody to hear it, nothing kept open.
malformed:
	cmp	w19, 2
	b.lo	1f
	ldr	w9, [x29, CONTROL_FDS + 4]
	mov	x0, -EINVAL
	mov	w20, -1
	mov	w21, 0
	bl	reply
1:	subs	w19, w19, 1
	b.mi	wait
	add	x10, x29, CONTROL_FDS
	ldr	w0, [x10, x19, lsl 2]
	sys	SYS_close
	b	1b

// reply: writes {u32 who = w21, u32 index = w20, i64 result = x0} to descriptor w9, from below the stack
// that it is on: a child that shares memory may have one of its own.
reply:
	stp	w21, w20, [sp, -16]!
	str	x0, [sp, 8]
	mov	w0, w9
	mov	x1, sp
	mov	x2, 16
	sys	SYS_write
	add	sp, sp, 16
	ret

// move_fd: gives descriptor w0 the number w1, close-on-exec. Changes w0, w2 and w9.
move_fd:
	mov	w9, w0
	mov	w2, O_CLOEXEC
	sys	SYS_dup3
	mov	w0, w9
	sys	SYS_close
	ret

// close_on_exec: marks descriptor w0.
close_on_exec:
	mov	w1, F_SETFD
	mov	w2, FD_CLOEXEC
	sys	SYS_fcntl
	ret

name:	.asciz	"podrt-monitor"
image_end:
