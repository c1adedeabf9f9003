// SPDX-License-Identifier: BSL-1.0
// The unit whose compilation makes the precompiled header that all test programs reuse.
