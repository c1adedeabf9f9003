# SPDX-License-Identifier: BSL-1.0
# Installation; nothing of it concerns a consumer that uses add_subdirectory.
