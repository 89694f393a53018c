"""Own reward, own observation and own termination, from functions of observation and info.

Here are those for the single form, in `wrappers.vector` those of the same names for the vector
form, as Gymnasium has it. Functions read `info` (see `envs.infos`) and rows, which
`selfdrive_env.config.observation.decode` brings back to metres and seconds. Where a function needs
nothing but the reward or the observation, Gymnasium's `TransformReward` and `TransformObservation`
do.
"""

from __future__ import annotations

from selfdrive_env.wrappers.single import OwnObservation, OwnReward, OwnTermination

__all__ = ["OwnObservation", "OwnReward", "OwnTermination"]
