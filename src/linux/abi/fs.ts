// SPDX-License-Identifier: Apache-2.0
// Constants of include/uapi/linux/fs.h; the ioctls take an int, whatever the size in their number says.

export const FS_IOC_GETFLAGS = 0x80086601;
export const FS_IOC_SETFLAGS = 0x40086602;
export const FS_TOPDIR_FL = 0x0002_0000;
