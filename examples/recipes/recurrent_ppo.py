"""PPO with memory (Schulman et al. 2017): rollouts a step at a time, updates over whole sequences with resets.

In each episode a signal is shown once, at the first step; the agent is paid for repeating it at the last. Episodes end
at random times, so a rollout holds ends and beginnings: `resets` begins the state anew where an episode does.
"""

import torch
from torch import nn
from torch.distributions import Categorical

import selfloop as sl

SIGNALS, ENVIRONMENTS, STEPS = 3, 32, 40


class Environments:
    """Observations (B, SIGNALS + 1): the signal at an episode's first step, and whether this is its last."""

    def __init__(self):
        self.begin(torch.ones(ENVIRONMENTS, dtype=torch.bool))

    def begin(self, done):
        if not hasattr(self, "signal"):
            self.signal, self.age, self.length = (torch.zeros(ENVIRONMENTS, dtype=torch.long) for _ in range(3))
        self.signal = torch.where(done, torch.randint(SIGNALS, done.shape), self.signal)
        self.length = torch.where(done, torch.randint(3, 8, done.shape), self.length)
        self.age = self.age.masked_fill(done, 0)

    def observe(self):
        shown = nn.functional.one_hot(self.signal, SIGNALS) * (self.age == 0)[:, None]
        return torch.cat([shown, (self.age == self.length - 1)[:, None]], dim=1).float()

    def act(self, action):
        done = self.age == self.length - 1
        reward = (done & (action == self.signal)).float()
        self.age = self.age + 1
        self.begin(done)
        return reward, done


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = sl.LSTM(SIGNALS + 1, 32)
        self.actor, self.critic = nn.Linear(32, SIGNALS), nn.Linear(32, 1)

    def step(self, observation, state):
        y, state = self.rnn.step(observation, state)
        return Categorical(logits=self.actor(y)), self.critic(y)[..., 0], state

    def forward(self, observations, state, resets):
        y, _ = self.rnn(observations, state, resets=resets)
        return Categorical(logits=self.actor(y)), self.critic(y)[..., 0]


torch.manual_seed(0)
world, agent = Environments(), Agent()
optimizer = torch.optim.Adam(agent.parameters(), lr=0.01)
state, begins, furthest, rewards = agent.rnn.zero_state(ENVIRONMENTS), torch.ones(ENVIRONMENTS, dtype=torch.bool), 0, []
for _ in range(60):
    seen, first = [], state
    with torch.no_grad():
        for _ in range(STEPS):
            state = state.reset(begins)
            observation = world.observe()
            policy, value, state = agent.step(observation, state)
            action = policy.sample()
            reward, done = world.act(action)
            seen.append((observation, action, policy.log_prob(action), value, reward, done, begins))
            begins = done
        _, value, _ = agent.step(world.observe(), state.reset(begins))
    observations, actions, log_probs, values, paid, done, resets = (torch.stack(v) for v in zip(*seen, strict=True))

    advantages, gain, following = torch.zeros_like(paid), torch.zeros(ENVIRONMENTS), value
    for t in reversed(range(STEPS)):  # generalised advantage estimation (Schulman et al. 2016)
        goes_on = (~done[t]).float()
        gain = paid[t] + 0.99 * following * goes_on - values[t] + 0.99 * 0.95 * goes_on * gain
        advantages[t], following = gain, values[t]
    scaled = (advantages - advantages.mean()) / advantages.std()

    for epoch in range(4):
        policy, value = agent(observations, first, resets)
        new = policy.log_prob(actions)
        if epoch == 0:  # nothing has been learnt yet: the same numbers as in the rollout
            furthest = max(furthest, (new - log_probs).abs().max().item())
        ratio = (new - log_probs).exp()
        gained = torch.minimum(ratio * scaled, ratio.clamp(0.8, 1.2) * scaled).mean()
        loss = -gained + 0.5 * (value - values - advantages).square().mean() - 0.01 * policy.entropy().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
        optimizer.step()
    rewards.append(float(paid.sum() / done.sum()))

print(f"log-probabilities of rollout and update differ by {furthest:.1e}")
print(
    f"reward of an episode {rewards[0]:.2f} at first, {sum(rewards[-5:]) / 5:.2f} at last; chance is {1 / SIGNALS:.2f}"
)
