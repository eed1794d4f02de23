# SPDX-License-Identifier: Apache-2.0
#
# The monitor: parent of a pod's processes. It runs launch programs, reaps, and writes every exit to a
# journal. Descriptors, messages and limits: README.md. All it remembers is on its stack, in one frame:
#
#   rbp  the frame, from _start to the end      rbx, r12, r14, r15  the engine's
#   r13  requests: size of the mapped program, 0 when none; reaping: number of exits in this round

	.intel_syntax noprefix

	.equ	ELF_MACHINE, 62			# EM_X86_64
	.equ	LARGEST_PAGE, 0x1000
	.include "elf.S"
	.include "engine.x86_64.S"

	.equ	SOCKET, 3
	.equ	JOURNAL, 4
	.equ	SIGNALS, 5
	.equ	DOORBELL, 6
	.equ	FIRST_PASSED, 100		# descriptors of a request get the numbers from here on
	.equ	LAST_PASSED, 255
	.equ	PROGRAM_FD, FIRST_PASSED
	.equ	REPLY_FD, FIRST_PASSED + 1
	.equ	PROGRAM_ADDRESS, 0x10000000
	.equ	PROGRAM_LIMIT, 4 << 20

	.equ	SYS_read, 0
	.equ	SYS_write, 1
	.equ	SYS_fstat, 5
	.equ	SYS_mmap, 9
	.equ	SYS_munmap, 11
	.equ	SYS_rt_sigaction, 13
	.equ	SYS_rt_sigprocmask, 14
	.equ	SYS_nanosleep, 35
	.equ	SYS_recvmsg, 47
	.equ	SYS_wait4, 61
	.equ	SYS_fcntl, 72
	.equ	SYS_prctl, 157
	.equ	SYS_clock_gettime, 228
	.equ	SYS_ppoll, 271
	.equ	SYS_signalfd4, 289
	.equ	SYS_dup3, 292
	.equ	SYS_close_range, 436

	.equ	O_CLOEXEC, 0x80000
	.equ	SFD_NONBLOCK_CLOEXEC, 0x80800
	.equ	F_SETFD, 2
	.equ	FD_CLOEXEC, 1
	.equ	SIG_SETMASK, 2
	.equ	SIGTERM, 15
	.equ	AWAITED, 1 << (SIGTERM - 1) | 1 << 16	# and SIGCHLD
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

	# The frame.
	.equ	POLL_SOCKET, 0			# struct pollfd: i32 fd, i16 events, i16 revents
	.equ	POLL_SIGNALS, 8
	.equ	REVENTS, 6
	.equ	RECORD, 16			# u64 tag, i64 pid, i64 status, i64 sec, i64 nsec
	.equ	RECORD_PID, RECORD + 8
	.equ	RECORD_STATUS, RECORD + 16
	.equ	RECORD_TIME, RECORD + 24
	.equ	RECORD_SIZE, 40
	.equ	REQUEST, 56			# u64 program size, u64 table address
	.equ	REQUEST_TABLE, REQUEST + 8
	.equ	REQUEST_SIZE, 16
	.equ	IOVEC, 72			# void *base, u64 length
	.equ	MESSAGE, 88			# struct msghdr
	.equ	MESSAGE_IOV, MESSAGE + 16
	.equ	MESSAGE_IOVLEN, MESSAGE + 24
	.equ	MESSAGE_CONTROL, MESSAGE + 32
	.equ	MESSAGE_CONTROLLEN, MESSAGE + 40
	.equ	MESSAGE_FLAGS, MESSAGE + 48
	.equ	CONTROL, 144			# struct cmsghdr and 90 descriptors; also scratch
	.equ	CONTROL_LEVEL, CONTROL + 8
	.equ	CONTROL_TYPE, CONTROL + 12
	.equ	CONTROL_FDS, CONTROL + 16
	.equ	CONTROL_SIZE, 16 + 90 * 4
	.equ	ENDING, CONTROL + CONTROL_SIZE	# u64, not 0 once SIGTERM has come
	.equ	FRAME_SIZE, ENDING + 8

	.macro	sys	number
	mov	eax, \number
	syscall
	.endm

_start:
	sub	rsp, FRAME_SIZE
	mov	rbp, rsp
	mov	rdi, rsp
	mov	ecx, FRAME_SIZE / 8
	xor	eax, eax
	rep stosq

	# Everything blocked before SIGCHLD counts for anything, every inherited disposition undone: an
	# ignored SIGCHLD would make the kernel reap the children unseen.
	mov	qword ptr [rbp + REQUEST], -1
	mov	edi, SIG_SETMASK
	lea	rsi, [rbp + REQUEST]
	xor	edx, edx
	mov	r10d, 8
	sys	SYS_rt_sigprocmask
	mov	ebx, LAST_SIGNAL
1:	mov	edi, ebx
	lea	rsi, [rbp + CONTROL]		# zeros: SIG_DFL, no flags
	xor	edx, edx
	mov	r10d, 8
	sys	SYS_rt_sigaction
	dec	ebx
	jnz	1b

	mov	edi, PR_SET_NAME
	lea	rsi, [rip + name]
	sys	SYS_prctl
	mov	edi, PR_SET_DUMPABLE
	xor	esi, esi
	sys	SYS_prctl
	mov	edi, SOCKET
	call	close_on_exec
	mov	edi, JOURNAL
	call	close_on_exec
	mov	edi, DOORBELL
	call	close_on_exec

	mov	qword ptr [rbp + REQUEST], AWAITED
	mov	rdi, -1
	lea	rsi, [rbp + REQUEST]
	mov	edx, 8
	mov	r10d, SFD_NONBLOCK_CLOEXEC
	sys	SYS_signalfd4
	cmp	eax, SIGNALS
	je	1f
	mov	edi, eax
	mov	esi, SIGNALS
	call	move_fd
1:
	mov	dword ptr [rbp + POLL_SOCKET], SOCKET
	mov	dword ptr [rbp + POLL_SOCKET + 4], POLLIN
	mov	dword ptr [rbp + POLL_SIGNALS], SIGNALS
	mov	dword ptr [rbp + POLL_SIGNALS + 4], POLLIN

wait:
	mov	rdi, rbp
	mov	esi, 2
	xor	edx, edx
	xor	r10d, r10d
	sys	SYS_ppoll
	test	eax, eax
	jle	wait
	cmp	word ptr [rbp + POLL_SIGNALS + REVENTS], 0
	je	request

	# Children have ended, or are to. The signal is taken first: a child that ends from here on raises it again.
	mov	edi, SIGNALS
	lea	rsi, [rbp + CONTROL]		# struct signalfd_siginfo: u32 number first
	mov	edx, 128
	sys	SYS_read
	cmp	dword ptr [rbp + CONTROL], SIGTERM
	jne	1f
	mov	dword ptr [rbp + ENDING], 1
1:	xor	r13d, r13d
reap:
	mov	rdi, -1
	lea	rsi, [rbp + RECORD_STATUS]
	mov	edx, WNOHANG_WALL
	xor	r10d, r10d
	sys	SYS_wait4
	test	eax, eax
	jle	reaped
	mov	[rbp + RECORD_PID], rax
	xor	edi, edi			# CLOCK_REALTIME
	lea	rsi, [rbp + RECORD_TIME]
	sys	SYS_clock_gettime
	lea	rsi, [rbp + RECORD]
	mov	edx, RECORD_SIZE
write_record:
	mov	edi, JOURNAL
	sys	SYS_write
	test	rax, rax
	js	1f
	add	rsi, rax
	sub	rdx, rax
	jnz	write_record
2:	inc	r13d
	jmp	reap
1:	# A full file system is waited out, since the record is the only trace of an exit.
	cmp	eax, -ENOSPC
	je	1f
	cmp	eax, -ENOMEM
	je	1f
	cmp	eax, -EDQUOT
	jne	2b
1:	mov	r8, rsi
	mov	r9, rdx
	push	RETRY_NS
	push	0
	mov	rdi, rsp
	xor	esi, esi
	sys	SYS_nanosleep
	pop	rcx
	pop	rcx
	mov	rsi, r8
	mov	rdx, r9
	jmp	write_record
reaped:
	mov	ebx, eax
	test	r13d, r13d
	jz	1f
	mov	edi, DOORBELL
	lea	rsi, [rbp + RECORD]
	mov	edx, 1
	sys	SYS_write
	# Who ends everything, as a machine that is shut down, is not kept waiting by a monitor of nothing.
1:	cmp	dword ptr [rbp + ENDING], 0
	je	request
	cmp	ebx, -ECHILD
	jne	request
	xor	edi, edi
	sys	SYS_exit_group

request:
	movzx	eax, word ptr [rbp + POLL_SOCKET + REVENTS]
	test	eax, eax
	jz	wait
	test	al, POLLHUP_POLLNVAL
	jz	1f
	# Somebody shut the socket down: no more requests, but reaping goes on without a busy loop.
	mov	dword ptr [rbp + POLL_SOCKET], -1
	jmp	wait
1:
	lea	rax, [rbp + REQUEST]
	mov	[rbp + IOVEC], rax
	mov	qword ptr [rbp + IOVEC + 8], REQUEST_SIZE
	lea	rax, [rbp + IOVEC]
	mov	[rbp + MESSAGE_IOV], rax
	mov	qword ptr [rbp + MESSAGE_IOVLEN], 1
	lea	rax, [rbp + CONTROL]
	mov	[rbp + MESSAGE_CONTROL], rax
	mov	qword ptr [rbp + MESSAGE_CONTROLLEN], CONTROL_SIZE
	mov	edi, SOCKET
	lea	rsi, [rbp + MESSAGE]
	mov	edx, MSG_DONTWAIT_CMSG_CLOEXEC
	sys	SYS_recvmsg
	test	rax, rax
	js	wait

	# rbx = number of descriptors received
	xor	ebx, ebx
	cmp	qword ptr [rbp + MESSAGE_CONTROLLEN], 16
	jbe	1f
	cmp	dword ptr [rbp + CONTROL_LEVEL], SOL_SOCKET
	jne	1f
	cmp	dword ptr [rbp + CONTROL_TYPE], SCM_RIGHTS
	jne	1f
	mov	rbx, [rbp + CONTROL]
	sub	rbx, 16
	shr	rbx, 2
1:
	cmp	rax, REQUEST_SIZE
	jne	malformed
	test	byte ptr [rbp + MESSAGE_FLAGS], MSG_TRUNC_CTRUNC
	jnz	malformed
	cmp	ebx, 2
	jb	malformed
	xor	ecx, ecx
1:	cmp	dword ptr [rbp + CONTROL_FDS + rcx * 4], FIRST_PASSED
	jae	malformed
	inc	ecx
	cmp	ecx, ebx
	jb	1b

	xor	r12d, r12d
1:	mov	edi, [rbp + CONTROL_FDS + r12 * 4]
	lea	esi, [r12 + FIRST_PASSED]
	call	move_fd
	inc	r12d
	cmp	r12d, ebx
	jb	1b

	# The size is checked against the file's: touching a mapping behind its end would be fatal.
	mov	r13, [rbp + REQUEST]
	mov	edi, PROGRAM_FD
	lea	rsi, [rbp + CONTROL]
	sys	SYS_fstat
	test	eax, eax
	js	refused
	mov	eax, -EINVAL
	lea	rcx, [r13 - 1]
	cmp	rcx, PROGRAM_LIMIT
	jae	refused
	cmp	[rbp + CONTROL + STAT_SIZE], r13
	jb	refused
	mov	rbx, [rbp + REQUEST_TABLE]
	lea	rcx, [rbx - PROGRAM_ADDRESS]
	cmp	rcx, r13
	jae	refused
	mov	edi, PROGRAM_ADDRESS
	mov	rsi, r13
	mov	edx, PROT_READ_WRITE
	mov	r10d, MAP_PRIVATE_FIXED_NOREPLACE
	mov	r8d, PROGRAM_FD
	xor	r9d, r9d
	sys	SYS_mmap
	test	rax, rax
	js	refused
	xor	r14d, r14d
	lea	r15, [rip + finished]
	jmp	engine
refused:
	movsxd	rax, eax
	xor	r13d, r13d			# nothing of ours is mapped
	xor	r14d, r14d
	mov	r12d, -1
finished:
	mov	edi, REPLY_FD
	call	reply
	test	r14d, r14d
	jnz	1f
	mov	edi, PROGRAM_ADDRESS
	mov	rsi, r13
	sys	SYS_munmap
	mov	edi, FIRST_PASSED
	mov	esi, LAST_PASSED
	xor	edx, edx
	sys	SYS_close_range
	jmp	wait
1:	mov	edi, EXIT_NOT_STARTED		# a child that did not exec
	sys	SYS_exit_group

	# A request that cannot be taken: an answer where there is somebody to hear it, nothing kept open.
malformed:
	cmp	ebx, 2
	jb	1f
	mov	edi, [rbp + CONTROL_FDS + 4]
	mov	rax, -EINVAL
	mov	r12d, -1
	xor	r14d, r14d
	call	reply
1:	dec	ebx
	js	wait
	mov	edi, [rbp + CONTROL_FDS + rbx * 4]
	sys	SYS_close
	jmp	1b

# reply: writes {u32 who = r14, u32 index = r12, i64 result = rax} to descriptor edi.
reply:
	push	rax
	mov	ecx, r12d
	shl	rcx, 32
	or	rcx, r14
	push	rcx
	mov	rsi, rsp
	mov	edx, 16
	sys	SYS_write
	pop	rcx
	pop	rcx
	ret

# move_fd: gives descriptor edi the number esi, close-on-exec.
move_fd:
	mov	edx, O_CLOEXEC
	sys	SYS_dup3
	sys	SYS_close
	ret

# close_on_exec: marks descriptor edi.
close_on_exec:
	mov	esi, F_SETFD
	mov	edx, FD_CLOEXEC
	sys	SYS_fcntl
	ret

name:	.asciz	"podrt-monitor"
image_end:
