/* SPDX-License-Identifier: Apache-2.0
 *
 * The head of a static ELF file, written by hand: one read-and-execute segment that holds the whole
 * file, no writable data, a stack that is not executable. The file ends at `image_end`. Whoever includes
 * it says for which machine: ELF_MACHINE, and LARGEST_PAGE, the largest page that its kernels may have.
 */

	.equ	LOAD_ADDRESS, 0x400000
	.equ	ET_EXEC, 2
	.equ	PT_LOAD, 1
	.equ	PT_GNU_STACK, 0x6474e551
	.equ	PF_X, 1
	.equ	PF_W, 2
	.equ	PF_R, 4

	.text
image:
	.byte	0x7f, 'E', 'L', 'F', 2, 1, 1, 0	/* 64 bit, little-endian, version 1, System V */
	.quad	0
	.short	ET_EXEC, ELF_MACHINE
	.long	1
	.quad	LOAD_ADDRESS + _start - image
	.quad	program_headers - image
	.quad	0				/* no section headers */
	.long	0
	.short	64, 56, 2, 0, 0, 0		/* sizes of this header and of a program header; two of them */
program_headers:
	.long	PT_LOAD, PF_R | PF_X
	.quad	0, LOAD_ADDRESS, LOAD_ADDRESS
	.quad	image_end - image, image_end - image
	.quad	LARGEST_PAGE
	.long	PT_GNU_STACK, PF_R | PF_W
	.quad	0, 0, 0, 0, 0, 16
