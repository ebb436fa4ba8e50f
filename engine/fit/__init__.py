# SPDX-License-Identifier: GPL-3.0-or-later
"""Fitting the body to what was seen in a picture: numpy, batched over people, analytic derivatives.

kinematics  the unknowns, the skeleton, and how points on the body move with the unknowns
first_guess where a fit begins
solver      Levenberg-Marquardt over a sum of terms
landmarks   terms: landmarks in the picture and in metres;   points: where landmarks lie on the body
priors      terms: likely poses, joint limits, shape, stature, focal length
contours    term: the body's outline lies on the person's;   coarse_body: the body it is drawn with
body_fit    puts them together
"""
